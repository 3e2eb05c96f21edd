/**
 * The conversation of a task (docs/agents.md): the session files of a coding CLI, kept for the next start of the same task. Free of packages,
 * because it also runs inside agents' containers.
 */

/** Below the home of an agent, what is kept: where each CLI writes its conversations, and nothing else. `*` is one folder of any name. */
export const TRANSCRIPT_FOLDERS = {
  codex: ['.codex', 'sessions'],
  'claude-code': ['.claude', 'projects'],
  gemini: ['.gemini', 'tmp', '*', 'chats'],
} as const satisfies Record<string, readonly string[]>

/** Of the files of one conversation together. */
export const TRANSCRIPT_BYTES_MAX = 64 * 1024 ** 2
export const TRANSCRIPT_FILES_MAX = 4096
/** Of the line that names the files. */
export const TRANSCRIPT_HEAD_BYTES_MAX = 4 * 1024 ** 2
/** Of its text so much is told to a fresh start, in code points. */
export const TRANSCRIPT_TEXT_CHARS = 1500
/** So many starts that went on with a conversation may fall before one begins anew. */
export const TRANSCRIPT_TRIES = 2

/** In `run` of a card: where a fresh start is told the end of the earlier conversation. */
export const EARLIER = '{earlier}'

/** How a start takes up a conversation: it goes on with it, or begins anew and is told the end of its text. */
export type Takeup = 'resume' | 'text'

/** What the join says of the conversation that is kept; null where there is none. */
export interface KeptTranscript {
  sha256: string
  size: number
  /** How many starts that went on with it have fallen. */
  tries: number
  as: Takeup
}

const PART = /^[A-Za-z0-9_@+=,.:-]{1,200}$/
const PARTS_MAX = 16

/** Whether a file below the home is one of a conversation. */
export function isTranscriptPath(path: string): boolean {
  const parts = path.split('/')
  if (parts.length > PARTS_MAX || !parts.every((part) => PART.test(part) && part !== '.' && part !== '..')) return false
  return Object.values(TRANSCRIPT_FOLDERS).some(
    (folder) => parts.length > folder.length && folder.every((name, at) => name === '*' || name === parts[at]),
  )
}

/** The end of a text, in code points. */
export const lastOf = (text: string): string =>
  [...text.slice(-2 * TRANSCRIPT_TEXT_CHARS).toWellFormed()].slice(-TRANSCRIPT_TEXT_CHARS).join('')
