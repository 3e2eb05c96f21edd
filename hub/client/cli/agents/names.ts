/** Checks before anything is sent that an agent of that name exists: a typing error is no question for the rules (fault C7). */

import { didYouMean } from '../../../base/nearest.ts'
import type { AgentListing } from '../../answers.ts'
import type { Connection } from '../../connection.ts'
import { Problem, toProblem } from '../../problem.ts'
import { findFolder } from './folder.ts'

/** The hub's answer, with its "no such agent" in the words of `requireAgent`. */
export const named = <Answer>(hub: Pick<Connection, 'call'>, name: string, answer: Promise<Answer>): Promise<Answer> =>
  answer.catch(async (thrown: unknown) => {
    if (toProblem(thrown).code === 'unknown_agent') await requireAgent(hub, name)
    throw thrown
  })

/** Accepts any name if the agents cannot be listed. @throws Problem `unknown_agent`, with what was likely meant or why the card did not load */
export async function requireAgent(hub: Pick<Connection, 'call'>, name: string): Promise<void> {
  let listing: AgentListing
  try {
    listing = await hub.call('agent.list')
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
      'fix the card, then `hub agent reload`',
    )
  }
  // Made by `hub agent new`, and not known to the hub before it is built.
  if (findFolder(name) !== undefined)
    throw new Problem('unknown_agent', 'refused', `agent ${name} is not built yet`, `\`hub agent build ${name}\``)
  const meant = didYouMean(name, names)
  const next =
    meant === ''
      ? '`hub agent list` shows all agents; a new one needs `hub agent build FOLDER`'
      : '`hub agent list` shows all agents'
  throw new Problem('unknown_agent', 'refused', `no agent is named ${name}${meant}`, next)
}
