/** What a storm does and when: a list drawn from a seed, so that the same seed makes the same storm. Pure. */
import { ENGINE_VERBS, type EngineFault, type EngineVerb } from '../support/engine-proxy.ts'
import { createSeededRandom } from '../support/seeded-random.ts'

export type Act =
  | { kind: 'submit'; agent: string; params: Record<string, unknown>; ttlMs?: number }
  | { kind: 'kill'; who: readonly ('hub' | 'watchdog')[]; forMs: number }
  /** `pick` says which of those there are then, modulo their number. */
  | { kind: 'kill_agent'; pick: number }
  | { kind: 'spoil'; verb: EngineVerb | 'all'; fault: EngineFault; times: number; forMs: number }
  | { kind: 'close_streams'; verb: 'wait' | 'events' }
  | { kind: 'engine_down'; forMs: number }
  | { kind: 'safe'; forMs: number }
  | { kind: 'cancel'; pick: number }
  | { kind: 'stop_session'; pick: number }
  | { kind: 'release'; pick: number }
  | { kind: 'rotate_keys' | 'reload' }

export interface Step {
  atMs: number
  act: Act
}

type Draw = ReturnType<typeof createSeededRandom>
const GAP_MS = { least: 40, most: 400 }
const PICK_MAX = 1_000_000

/** Weight of each kind of act. */
const ACTS: readonly (readonly [number, (draw: Draw) => Act])[] = [
  [35, submit],
  [9, (draw) => ({ kind: 'kill_agent', pick: draw.below(PICK_MAX) })],
  [5, (draw) => ({ kind: 'kill', who: ['hub'], forMs: draw.below(1_500) })],
  [3, (draw) => ({ kind: 'kill', who: ['watchdog'], forMs: draw.below(4_000) })],
  [1, (draw) => ({ kind: 'kill', who: ['hub', 'watchdog'], forMs: draw.below(2_000) })],
  [12, spoil],
  [3, (draw) => ({ kind: 'close_streams', verb: draw.pick(['wait', 'events'] as const) })],
  [1, (draw) => ({ kind: 'engine_down', forMs: 500 + draw.below(2_500) })],
  [2, (draw) => ({ kind: 'safe', forMs: 200 + draw.below(1_500) })],
  [4, (draw) => ({ kind: 'cancel', pick: draw.below(PICK_MAX) })],
  [4, (draw) => ({ kind: 'stop_session', pick: draw.below(PICK_MAX) })],
  [5, (draw) => ({ kind: 'release', pick: draw.below(PICK_MAX) })],
  [2, (draw) => ({ kind: draw.pick(['rotate_keys', 'reload'] as const) })],
]

function submit(draw: Draw): Act {
  const agent = draw.pick(['trial', 'trial', 'trial-once', 'trial-child'])
  const ms = draw.below(2_000)
  const what = draw.pick(['work', 'work', 'work', 'crash', 'hang', 'sleep', 'delegate', 'talk'])
  // Others than `trial` may neither delegate nor talk.
  if (agent !== 'trial' && (what === 'delegate' || what === 'talk'))
    return { kind: 'submit', agent, params: { what: 'work', ms } }
  const params = { what, ms, crashes: 1 + draw.below(4), children: 1 + draw.below(3) }
  if (what === 'hang' || what === 'sleep') return { kind: 'submit', agent, params, ttlMs: 3_000 + draw.below(6_000) }
  return { kind: 'submit', agent, params }
}

function spoil(draw: Draw): Act {
  const faults: EngineFault[] = [
    { kind: 'stall', when: draw.pick(['before', 'after'] as const) },
    { kind: 'cut', when: draw.pick(['before', 'after'] as const) },
    { kind: 'answer', status: 500 },
    { kind: 'slow', ms: 200 + draw.below(6_000) },
  ]
  const verb = draw.below(8) === 0 ? 'all' : draw.pick(ENGINE_VERBS)
  return { kind: 'spoil', verb, fault: draw.pick(faults), times: 1 + draw.below(6), forMs: 300 + draw.below(3_000) }
}

export function planStorm(seed: number, seconds: number): Step[] {
  const draw = createSeededRandom(seed)
  const whole = ACTS.reduce((sum, [weight]) => sum + weight, 0)
  const steps: Step[] = []
  for (let atMs = 0; atMs < seconds * 1000; atMs += GAP_MS.least + draw.below(GAP_MS.most)) {
    let left = draw.below(whole)
    const found = ACTS.find(([weight]) => {
      left -= weight
      return left < 0
    })
    if (found !== undefined) steps.push({ atMs, act: found[1](draw) })
  }
  return steps
}
