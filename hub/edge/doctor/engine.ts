/**
 * Doctor's rows of the engine: its version and the other version floors (docs/sandbox.md 9), the users of sessions, and whether sessions
 * may start on it (docs/sandbox.md 2).
 */

import { toHubError } from '../../base/errors.ts'
import type { RuntimeGate } from '../../work/dispatch/runtime.ts'
import type { Engine } from '../../work/sandbox/engine.ts'
import { holdersOf } from '../../work/sandbox/host-accounts.ts'
import type { UsersWatch } from '../../work/sandbox/shared-users.ts'
import { rangeText } from '../../work/sandbox/users.ts'
import type { Check } from './doctor.ts'

export interface Versions {
  engine: string
  api: string
  /** '' if the engine does not tell it. */
  runc: string
  /** As `uname -r` prints it. */
  kernel: string
  node: string
}

const SAFE_ENGINE = [29, 4, 3]
const TRIED = 'tried with Docker 20.10, 26.1 and 29.6, on x86-64'
const NODE_LEAST = [24, 0, 0]
/** The first release of each line that has the fixes. Every later line has them. */
const RUNC_FIXED = [
  [1, 2, 8],
  [1, 3, 3],
  [1, 4, 0],
]
const KERNEL_FIXED = [
  [6, 6, 137],
  [6, 18, 22],
  [6, 19, 13],
  [7, 0, 0],
]

const readVersion = (text: string): number[] | undefined =>
  /(\d+)\.(\d+)(?:\.(\d+))?/
    .exec(text)
    ?.slice(1)
    .map((part) => Number(part ?? 0))

const isAtLeast = (version: readonly number[], floor: readonly number[]): boolean => {
  for (const [place, part] of floor.entries()) {
    const found = version[place] ?? 0
    if (found !== part) return found > part
  }
  return true
}

/** Whether its own line (first two numbers) has the fix, or the line is newer than all of those. */
function isFixed(version: readonly number[], fixed: readonly (readonly number[])[]): boolean {
  const line = fixed.find(([major, minor]) => major === version[0] && minor === version[1])
  return isAtLeast(version, line ?? fixed.at(-1) ?? [])
}

const text = (floors: readonly (readonly number[])[]) => floors.map((each) => each.join('.')).join(', ')

function row(name: string, found: string, ok: boolean | undefined, lacks: string, mend: string): Check {
  if (ok === undefined)
    return {
      name,
      ok: null,
      detail: `its version is not known${found && `: ${found}`}`,
      // If it could not be asked, that is no reason to update it.
      mend: found === '' ? 'start the engine, then hub doctor' : mend,
    }
  return { name, ok: ok ? true : null, detail: ok ? found : `${found}; ${lacks}`, mend }
}

/** The engine's row. Below its floor it works, and is worth an upgrade. */
export function engineFloor({ engine, api }: Pick<Versions, 'engine' | 'api'>): Check {
  const version = readVersion(engine)
  const lacks = `below the safe version ${SAFE_ENGINE.join('.')}: here only the hub's own seccomp profile blocks AF_ALG`
  const ok = version !== undefined && isAtLeast(version, SAFE_ENGINE)
  return row(
    'engine',
    `version ${engine}, API ${api} (${TRIED})`,
    ok,
    lacks,
    'upgrade the engine when your distribution offers it',
  )
}

/** The rows beside the engine's. */
export function otherFloors({ runc, kernel, node }: Pick<Versions, 'runc' | 'kernel' | 'node'>): Check[] {
  const [ofRunc, ofKernel, ofNode] = [runc, kernel, node].map(readVersion)
  return [
    row(
      'runc',
      runc,
      ofRunc && isFixed(ofRunc, RUNC_FIXED),
      `the fixes of CVE-2025-31133, CVE-2025-52565 and CVE-2025-52881 came with ${text(RUNC_FIXED)}; your distribution may include them under an older number`,
      'sudo apt-get update && sudo apt-get install --only-upgrade runc, or containerd.io where Docker came from docker.com',
    ),
    row(
      'kernel',
      kernel,
      ofKernel && isFixed(ofKernel, KERNEL_FIXED),
      `the fix of CVE-2026-31431 came with ${text(KERNEL_FIXED)}; your distribution may include it under an older number. Agents cannot use AF_ALG in any case`,
      'sudo apt-get update && sudo apt-get upgrade, then reboot',
    ),
    row(
      'node',
      node,
      ofNode && isAtLeast(ofNode, NODE_LEAST),
      `below ${NODE_LEAST.join('.')}, the version that this is made for`,
      '`. scripts/node` puts a suitable one on PATH; then hub restart',
    ),
  ]
}

const WAY = 'create, compare, start, join, out of memory, stop, remove'

/** Whether the users of sessions are free on this machine, and unused by any other hub on this engine (fault F14). */
export const createUsersCheck = (firstUser: number, look: UsersWatch['look']) => async (): Promise<Check[]> => {
  const holders = holdersOf(firstUser)
  // An engine that does not answer has a row of its own.
  const shared = holders.length === 0 ? await look().catch(() => undefined) : undefined
  if (shared !== undefined) return [{ name: 'session users', ok: null, ...shared }]
  return [
    {
      name: 'session users',
      ok: holders.length === 0,
      detail:
        holders.length === 0
          ? `${rangeText(firstUser)}, one for each session`
          : `already used by ${holders.join(', ')}`.slice(0, 500),
      mend: `give these accounts other ids, or set engine.firstUser in hub.yaml, then node scripts/build-images.ts and hub restart`,
    },
  ]
}

/** Runs a canary session now. Each finding has a row. */
export const createRuntimeCheck =
  (runtime: Pick<RuntimeGate, 'fault' | 'text' | 'prove'>) => async (): Promise<Check[]> => {
    const { state, report } = await runtime.prove()
    const fault = runtime.fault()
    const rows: Check[] = [
      {
        name: 'runtime',
        ok: fault === undefined,
        detail: fault ?? runtime.text(),
        mend: 'fix the engine, or set engine.runtime: runc',
      },
    ]
    if (state === 'waiting' || report === undefined)
      return [
        ...rows,
        {
          name: 'canary',
          ok: null,
          detail:
            'not tried yet: this needs a hub in mode normal, an engine that answers, and an agent that may start and has an image',
          mend: 'hub status, then hub doctor',
        },
      ]
    const { tookMs, findings } = report
    const found = findings.map(({ id, words, mend, blocks }): Check => {
      return { name: `engine ${id}`, ok: blocks ? false : null, detail: words, mend }
    })
    const detail =
      state === 'passed' ? `passed in ${tookMs} ms: ${WAY}` : `failed after ${tookMs} ms; no agent can start`
    return [...rows, { name: 'canary', ok: state === 'passed', detail, mend: 'fix the rows below' }, ...found]
  }

/** The engine and every floor. If the engine is dead, kernel and Node still have their rows. */
export const createEngineChecks =
  (engine: Pick<Engine, 'ping'>, { kernel, node }: { kernel: string; node: string }) =>
  async (): Promise<Check[]> => {
    try {
      const { apiVersion, engineVersion, components } = await engine.ping()
      const found = { engine: engineVersion, api: apiVersion, runc: components.runc ?? '' }
      return [engineFloor(found), ...otherFloors({ ...found, kernel, node })]
    } catch (thrown) {
      const { code, message, facts } = toHubError(thrown)
      // If it answers, it is running: starting it fixes nothing.
      const away =
        code === 'engine_refused'
          ? 'fix what the message names; the log of the engine: journalctl -u docker'
          : 'scripts/engine up'
      const mend = typeof facts.mend === 'string' ? facts.mend : away
      // If the message ends with the fix, the fix moves to its own column.
      const detail = message.endsWith(`: ${mend}`) ? message.slice(0, -mend.length - 2) : message
      const dead: Check = { name: 'engine', ok: false, detail, mend }
      return [dead, ...otherFloors({ runc: '', kernel, node })]
    }
  }
