/**
 * What a task is about beside its parameters: known to hub, shim and command alike, where `params` belong to the agent alone.
 *
 * `repository`: the input is one git bundle. The shim clones it, and what the agent changed comes back as a bundle and a patch
 * (docs/agents.md). The hub itself runs no git; these are words for the two that do.
 */
import { z } from 'zod'

/** The one file of an input that holds a repository. */
export const BUNDLE_NAME = 'repository.bundle'
/** The only branch of that bundle. */
export const BASE_REF = 'refs/heads/base'
/** The branch on which a session works, and which comes back. */
export const branchOf = (session: string): string => `hub/${session}`

/** The session whose branch an artifact of this name holds; undefined for any other artifact. */
export const sessionOfBundle = (name: string): string | undefined => /^(s[a-z2-7]{15})\.bundle$/.exec(name)?.[1]

const repositoryShape = z.strictObject({
  base: z
    .string()
    .regex(/^(?:[0-9a-f]{40}|[0-9a-f]{64})$/, 'base must be the whole id of a commit')
    .describe('the commit that the work begins at'),
  from: z.string().min(1).max(255).describe('what the person called that commit, such as main'),
  change: z
    .boolean()
    .default(true)
    .describe('a change is asked for: a task that succeeds and leaves none ends as `nothing_done`'),
})
export type Repository = z.output<typeof repositoryShape>

/** A name goes into an argument of a program: none is read as an option of it. */
export const modelShape = z
  .string()
  .max(200)
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._:/@+-]*$/,
    'a model is letters, digits and . _ : / @ + -, and begins with a letter or digit',
  )
/** So many characters are one argument of a program, whatever they are. */
export const systemShape = z
  .string()
  .min(1)
  .max(16_384)
  .refine((text) => !text.includes('\0'), 'a system prompt holds no NUL')
export const maxTurnsShape = z.int().min(1).max(10_000)
const BUDGET_MAX = 1_000_000_000_000

/** What is asked for of the agent's model (wishes.ts). */
const wishShapes = {
  model: modelShape.optional().describe('the model that the agent is to use'),
  system: systemShape.optional().describe('its system prompt, or what its agent adds to its own'),
  maxTurns: maxTurnsShape.optional().describe('how many turns its model may take, as the agent counts them'),
  budget: z
    .int()
    .min(1)
    .max(BUDGET_MAX)
    .optional()
    .describe(
      'what it may cost, in millionths of a US dollar: a hint for the agent, which is told what is left of it; the limits of the hub count beside it',
    ),
}
export const wishesShape = z.strictObject(wishShapes)

export const taskSpecShape = z.strictObject({ repository: repositoryShape.optional(), ...wishShapes })
export type TaskSpec = z.output<typeof taskSpecShape>
