/**
 * Which runtime sessions get, and whether it may be used (sandbox.md section 2, "Runtimes").
 *
 * N1. `runc` needs no proof. Any other one is refused by name until a container under it has joined over its socket, at start and again
 *     after each change of the engine. There is no silent fall-back.
 * N2. Its name and its version, as the engine tells them, stand in the record of every provision.
 */
import type { Clock } from '../../base/clock.ts'
import { toHubError } from '../../base/errors.ts'
import type { Log } from '../../base/telemetry.ts'
import { type Modes, permits } from '../../guard/modes.ts'
import type { Engine } from '../sandbox/engine.ts'
import type { Runtime } from '../sandbox/profile.ts'

export interface RuntimeGate {
  /** Why no session may be started, or undefined. */
  fault(): string | undefined
  /** For the record: `runc 1.1.5`. */
  text(): string
  /** The engine may be another one now. */
  engineChanged(): void
  /** Looks at a changed engine, and begins the proof where one is due. Called before every round of the dispatcher. */
  round(): void
  /** Resolves when nothing is being looked at. */
  settled(): Promise<void>
}

const RETRY_MS = 60_000

export function createRuntimeGate(
  { runtime }: { runtime: Runtime },
  parts: {
    clock: Clock
    log: Log
    modes: Modes
    engine: Pick<Engine, 'ping'>
    /** Resolves when a container under it has joined. */
    probe: () => Promise<void>
  },
): RuntimeGate {
  const { clock, log, modes, engine, probe } = parts
  let version = ''
  let changed = true
  let unproven: string | undefined = runtime === 'runc' ? undefined : 'no container has joined under it yet'
  let notBefore = Number.NEGATIVE_INFINITY
  let looking: Promise<void> | undefined

  async function look(): Promise<void> {
    changed = false
    try {
      const { components } = await engine.ping()
      version = components[runtime] ?? ''
      if (runtime === 'runc') return
      await probe()
      unproven = undefined
      log.info({ runtime, version }, 'a container has joined under the runtime')
    } catch (thrown) {
      changed = true
      notBefore = clock.monotonicMs() + RETRY_MS
      if (runtime === 'runc') return
      unproven = toHubError(thrown).message
      log.error({ runtime, reason: toHubError(thrown).reason }, 'the runtime is not proven; nothing starts')
    }
  }

  return {
    fault: () =>
      unproven === undefined
        ? undefined
        : `engine.runtime ${runtime} is not enabled: ${unproven}. Mend it (runsc needs --host-uds=open), or set engine.runtime: runc`,
    text: () => `${runtime} ${version === '' ? 'of an unknown version' : version}`,
    engineChanged() {
      changed = true
      notBefore = Number.NEGATIVE_INFINITY
      if (runtime !== 'runc') unproven = 'the engine changed; no container has joined under it since'
    },
    round() {
      const mayLook = runtime === 'runc' || permits(modes.current(), 'new_work')
      if (!changed || looking !== undefined || !mayLook || clock.monotonicMs() < notBefore) return
      looking = look().finally(() => {
        looking = undefined
      })
    },
    settled: async () => looking,
  }
}
