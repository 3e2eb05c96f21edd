/**
 * Relaxations (docs/sandbox.md 8): the two walls of a container that a card can ask to have moved (`relax`), and a row of policy/data.json has to
 * permit. Nothing else of a container can be asked for. Pure, and without a library: the command reads it for what it shows every day.
 */

/** `exec`: programs run from `/workspace`. `shm`: a private `/dev/shm`. */
export const RELAXATIONS = ['exec', 'shm'] as const
export type Relaxation = (typeof RELAXATIONS)[number]

/** What each of them changes, for people. */
export const RELAXED: Readonly<Record<Relaxation, string>> = {
  exec: 'programs may run from /workspace',
  shm: 'a private /dev/shm of 64 MiB',
}

const isRelaxation = (value: unknown): value is Relaxation => RELAXATIONS.some((each) => each === value)

/** Whether a value from the database is a list of them. */
export const isRelaxations = (value: unknown): value is Relaxation[] =>
  Array.isArray(value) && value.every(isRelaxation)

/** As a fact or a right: where there is none the key is absent, so that all else stays as it is without relaxations. */
export const relaxFact = (relax: readonly Relaxation[] = []): { relax?: Relaxation[] } =>
  relax.length === 0 ? {} : { relax: [...relax] }

/** Those of `wished` that `held` does not hold. */
export const lackingIn = (wished: readonly Relaxation[] = [], held: readonly string[] = []): Relaxation[] =>
  wished.filter((each) => !held.includes(each))
