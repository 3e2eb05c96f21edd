/** Relaxations as a card and a row of policy/data.json name them (relax.ts). */
import { z } from 'zod'
import { RELAXATIONS, RELAXED } from './relax.ts'

export const relaxShape = z
  .array(
    z.enum(RELAXATIONS, {
      error: ({ input }) =>
        `${JSON.stringify(input)} is no relaxation: there are exec (${RELAXED.exec}) and shm (${RELAXED.shm})`,
    }),
  )
  .refine((list) => new Set(list).size === list.length, 'a relaxation is there twice')
