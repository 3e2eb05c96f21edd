/**
 * Relaxations (docs/sandbox.md 8): what a card can ask to have looser, and a row of policy/data.json has to permit (`relax`). Two are walls of a
 * container; nothing else of a container can be asked for. One moves no wall: nobody is asked about tools (docs/permissions.md). Pure, and
 * without a library: the command reads it for what it shows every day.
 */
import type { Permissions } from './tools.ts'

/** Walls of a container, in `relax` of a card. `exec`: programs run from `/workspace`. `shm`: a private `/dev/shm`. */
export const MOVED_WALLS = ['exec', 'shm'] as const
/** `bypass`: what a card asks for by `permissions: bypass`. */
export const RELAXATIONS = [...MOVED_WALLS, 'bypass'] as const
export type Relaxation = (typeof RELAXATIONS)[number]

/** What each of them changes, for people. */
export const RELAXED: Readonly<Record<Relaxation, string>> = {
  exec: 'programs may run from /workspace',
  shm: 'a private /dev/shm of 64 MiB',
  bypass: 'where a rule asks about a tool that reads, writes or executes, nobody is asked',
}

const isRelaxation = (value: unknown): value is Relaxation => RELAXATIONS.some((each) => each === value)

/** Whether a value from the database is a list of them. */
export const isRelaxations = (value: unknown): value is Relaxation[] =>
  Array.isArray(value) && value.every(isRelaxation)

/** All that a card asks for: its walls, and `permissions: bypass`. */
export const relaxOf = (card: {
  relax?: readonly Relaxation[] | undefined
  permissions?: Permissions | undefined
}): Relaxation[] => [...(card.relax ?? []), ...(card.permissions === 'bypass' ? (['bypass'] as const) : [])]

/** As a fact or a right: where there is none the key is absent, so that all else stays as it is without relaxations. */
export const relaxFact = (relax: readonly Relaxation[] = []): { relax?: Relaxation[] } =>
  relax.length === 0 ? {} : { relax: [...relax] }

/** Those of `wished` that `held` does not hold. */
export const lackingIn = (wished: readonly Relaxation[] = [], held: readonly string[] = []): Relaxation[] =>
  wished.filter((each) => !held.includes(each))
