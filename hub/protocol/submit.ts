/** What a person or a token asks for with `task.submit`. */
import { z } from 'zod'
import { dataClassShape } from './data-class.ts'
import { folderRefShape } from './envelope.ts'
import { nameShape } from './ids.ts'
import { taskSpecShape } from './task-spec.ts'

export const submitShape = z
  .strictObject({
    agent: nameShape.optional(),
    needs: z.array(nameShape).max(16).default([]),
    params: z.record(z.string().max(64), z.unknown()).default({}),
    inputs: folderRefShape.nullish(),
    ttlMs: z.int().positive().optional(),
    priority: z.int().min(0).max(9).default(5),
    hold: z.boolean().default(false),
    /** Only an agent whose card and row both take this class may have it. */
    sensitivity: dataClassShape.optional(),
    spec: taskSpecShape.optional(),
  })
  .refine(
    ({ inputs, spec }) => spec?.repository === undefined || (inputs ?? null) !== null,
    'spec.repository: the input holds the repository, so inputs must be given too',
  )
  .refine(
    ({ agent, needs }) => agent !== undefined || needs.length > 0,
    'agent: name the agent, or say in needs what it must be able to do',
  )
export type SubmitRequest = z.output<typeof submitShape>
