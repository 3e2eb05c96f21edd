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

export const taskSpecShape = z.strictObject({ repository: repositoryShape.optional() })
export type TaskSpec = z.output<typeof taskSpecShape>
