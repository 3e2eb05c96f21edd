/** What the agents that people already have cost here: their image, a repository in and a branch out, and a chat that waits. */
import { benchChat } from './agents-chat.ts'
import { benchImport } from './agents-import.ts'
import { benchRepository, needRepositoryTools } from './agents-repository.ts'
import type { Figure } from './run.ts'

export async function benchAgents(say: (line: string) => void, options: { rounds?: number }): Promise<Figure[]> {
  // What is missing is said now, not after minutes.
  needRepositoryTools()
  const chat = await benchChat(say)
  const repository = await benchRepository(say, options)
  return [...(await benchImport(say, options)), ...repository, ...chat]
}
