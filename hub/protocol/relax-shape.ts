/** Relaxations as a card and a row of policy/data.json name them (relax.ts). */
import { z } from 'zod'
import { MOVED_WALLS, RELAXATIONS, RELAXED, type Relaxation } from './relax.ts'

const listOf = <const Names extends readonly [Relaxation, ...Relaxation[]]>(
  names: Names,
  more: (input: unknown) => string,
) =>
  z
    .array(
      z.enum(names, {
        error: ({ input }) =>
          more(input) ||
          `${JSON.stringify(input)} is no relaxation: there are ${names.map((name) => `${name} (${RELAXED[name]})`).join(' and ')}`,
      }),
    )
    .refine((list) => new Set(list).size === list.length, 'a relaxation is there twice')

/** Of a card: walls of its container. */
export const relaxShape = listOf(MOVED_WALLS, (input) =>
  input === 'bypass' ? 'bypass is no wall of the container: write `permissions: bypass` instead' : '',
)

/** Of a row: all that a card can ask for. */
export const rowRelaxShape = listOf(RELAXATIONS, () => '')
