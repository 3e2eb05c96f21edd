/** What runs a program that knows nothing of the SDK: a loader for each driver. A driver is loaded only where a card names it. */
import type { DriverName } from '../../hub/protocol/drivers.ts'
import { loadAddition } from './additions.ts'
import type { DriverOptions, Ending } from './ending.ts'

type Drive = (options: DriverOptions) => Promise<Ending>

/** `sdk` is not here: its program runs in the process of the shim. */
export const DRIVES: Readonly<Record<Exclude<DriverName, 'sdk'>, () => Promise<Drive>>> = {
  'json-lines': async () => (await import('./driver-json-lines.ts')).driveJsonLines,
  command: async () => (await import('./driver-command.ts')).driveCommand,
  stub: async () => (await import('./driver-stub.ts')).driveStub,
  acp: async () => (await loadAddition('acp', () => import('./acp/driver.ts'))).driveAcp,
  'acp-v2': async () => (await loadAddition('acp', () => import('./acp/driver.ts'))).driveAcpDraft,
  'stream-json': async () => (await import('./driver-stream-json.ts')).driveStreamJson,
}

/** Throws with what to do where this image is older than the driver. */
export async function driveOf(driver: Exclude<DriverName, 'sdk'>): Promise<Drive> {
  if (!Object.hasOwn(DRIVES, driver))
    throw new Error(
      `the card asks for the driver ${driver}, and this image does not know it; build it again: hub agent build, for a shipped one node scripts/build-images.ts`,
    )
  return await DRIVES[driver]()
}
