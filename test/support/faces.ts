/** Makes and moves runs through the real gate, as the parts do that will own that: the operator asks for a run, the runner starts its steps. */
import { hubPrincipal, OPERATOR } from '../../hub/guard/principal.ts'
import type { TaskEnd } from '../../hub/work/dispatch/moves.ts'
import { originOf } from '../../hub/work/dispatch/origin.ts'
import type { TaskRow } from '../../hub/work/dispatch/rows.ts'
import type { Harness } from './hub-harness.ts'

const RUNNER = hubPrincipal('runner')
const PLAIN = { needs: [], params: {}, inputs: null, priority: 5, hold: false, ttlMs: undefined } as const

export function facesOf(h: Harness) {
  const gate = () => h.hub.guard.gate
  const tasks = () => h.hub.work.tasks
  const observe = (
    face: string,
    act: (grant: Parameters<Parameters<ReturnType<typeof gate>['admit']>[1]>[0]) => unknown,
  ) => void gate().admit({ principal: RUNNER, operation: 'run.observe', resource: `run:${face}` }, act)

  return {
    /** Of a person, and begun. */
    made(): string {
      const { id } = gate().admit({ principal: OPERATOR, operation: 'run.create', resource: 'runs' }, (grant) => {
        const face = tasks().insert(grant, {
          ...PLAIN,
          agent: undefined,
          kind: 'run',
          requestedBy: 'operator',
        })
        return { id: face.id, auditEffect: `task:${face.id}` }
      })
      observe(id, (grant) => tasks().begun(grant, id))
      return id
    },
    /** Starts a step, or a run within the run. */
    step(face: string, agent?: string, more: { params?: Record<string, unknown> } = {}): string {
      const run = h.task(face)
      const facts = { agent: agent ?? null, needs: [], origin: originOf(run) }
      const call = { principal: RUNNER, operation: 'run.step', resource: `run:${face}`, facts } as const
      return gate().admit(agent === undefined ? { ...call, facts: { ...facts, agent: 'echo' } } : call, (grant) => {
        const kind = agent === undefined ? ({ kind: 'run' } as const) : {}
        const { requestedBy } = run
        const task = tasks().insert(grant, { ...PLAIN, ...more, ...kind, agent, step: { face: run }, requestedBy })
        return { id: task.id, auditEffect: `task:${task.id}` }
      }).id
    },
    begin: (face: string) => observe(face, (grant) => tasks().begun(grant, face)),
    end: (face: string, end: TaskEnd) => observe(face, (grant) => tasks().ended(grant, face, end)),
    hold: (face: string): number =>
      gate().admitStop({ principal: OPERATOR, operation: 'run.hold', resource: `run:${face}` }, (grant) =>
        tasks().runHeld(grant, face),
      ),
    release: (face: string): TaskRow =>
      gate().admit({ principal: OPERATOR, operation: 'run.release', resource: `run:${face}` }, (grant) =>
        tasks().runReleased(grant, face),
      ),
  }
}
