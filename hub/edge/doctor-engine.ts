/** Doctor's rows of the engine and of every version floor; the floors of kernel and Node stand there with the engine dead too. */
import { toHubError } from '../base/errors.ts'
import type { Engine } from '../work/sandbox/engine.ts'
import type { Check } from './doctor.ts'
import { engineFloor, otherFloors } from './version-floors.ts'

export const createEngineChecks =
  (engine: Pick<Engine, 'ping'>, { kernel, node }: { kernel: string; node: string }) =>
  async (): Promise<Check[]> => {
    try {
      const { apiVersion, engineVersion, components } = await engine.ping()
      const found = { engine: engineVersion, api: apiVersion, runc: components.runc ?? '' }
      return [engineFloor(found), ...otherFloors({ ...found, kernel, node })]
    } catch (thrown) {
      const { code, message, facts } = toHubError(thrown)
      // One that answers is there: starting it mends nothing.
      const away =
        code === 'engine_refused' ? 'what its words name; its log: journalctl -u docker' : 'scripts/engine up'
      const mend = typeof facts.mend === 'string' ? facts.mend : away
      const dead: Check = { name: 'engine', ok: false, detail: message, mend }
      return [dead, ...otherFloors({ runc: '', kernel, node })]
    }
  }
