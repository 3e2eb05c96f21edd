/** Whether there is an agent of that name, asked before anything is sent: a slip of the finger is no question for the rules (fault C7). */

import { didYouMean } from '../../base/nearest.ts'
import type { AgentListing } from '../answers.ts'
import type { Connection } from '../connection.ts'
import { Problem, toProblem } from '../problem.ts'

/** What the hub answered, its "no such agent" in these words. */
export const named = <Answer>(hub: Pick<Connection, 'call'>, name: string, answer: Promise<Answer>): Promise<Answer> =>
  answer.catch(async (thrown: unknown) => {
    if (toProblem(thrown).code === 'unknown_agent') await requireAgent(hub, name)
    throw thrown
  })

/** Who may not list agents is not kept from naming one. @throws Problem `unknown_agent`, with what was likely meant or why its card is not there */
export async function requireAgent(hub: Pick<Connection, 'call'>, name: string): Promise<void> {
  let listing: Partial<AgentListing>
  try {
    listing = (await hub.call('agent.list')) as Partial<AgentListing>
  } catch {
    return
  }
  const names = listing.agents?.map((agent) => agent.name)
  if (names === undefined || names.includes(name)) return
  const broken = listing.problems?.find(({ file }) => file.replace(/^.*\/|\.ya?ml$/g, '') === name)
  if (broken !== undefined) {
    const where = `${broken.file}${broken.line ? `:${broken.line}` : ''}`
    throw new Problem(
      'unknown_agent',
      'refused',
      `the card of ${name} did not load: ${where}: ${broken.message}`,
      'correct it, then `hub agent reload`',
    )
  }
  const meant = didYouMean(name, names)
  const next =
    meant === ''
      ? '`hub agent list` shows who there is; a new card needs `hub agent reload`'
      : '`hub agent list` shows who there is'
  throw new Problem('unknown_agent', 'refused', `no agent is named ${name}${meant}`, next)
}
