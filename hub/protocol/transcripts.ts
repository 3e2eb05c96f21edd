/**
 * The conversation of a task (docs/agents.md): the session files of a coding CLI, kept for the next start of the same task. Free of packages,
 * because it also runs inside agents' containers.
 */

const NAME = '[A-Za-z0-9_@+=,.:-]+'
const UUID = '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}'

/**
 * Below the home of an agent, what is kept: the files in which each CLI writes what was said, as the versions write them that recipes install. Beside
 * them lie memory, settings and instructions, which are no conversation. `*` is one folder of any name.
 */
const TRANSCRIPT_KINDS = {
  codex: {
    folder: ['.codex', 'sessions'],
    files: [String.raw`\d{4}/\d{2}/\d{2}/rollout-[0-9A-Za-z-]+\.jsonl`],
  },
  // What its own agents said, and what a tool answered that was too long to stand in the conversation.
  'claude-code': {
    folder: ['.claude', 'projects'],
    files: [
      String.raw`${NAME}/${UUID}\.jsonl`,
      String.raw`${NAME}/${UUID}/subagents/agent-[0-9A-Za-z_-]+\.jsonl`,
      String.raw`${NAME}/${UUID}/tool-results/[0-9A-Za-z_-]+\.txt`,
    ],
  },
  gemini: {
    folder: ['.gemini', 'tmp', '*', 'chats'],
    files: [String.raw`session-[0-9A-Za-z-]+\.jsonl`, String.raw`${UUID}/[0-9A-Za-z_-]+\.jsonl`],
  },
} as const satisfies Record<string, { folder: readonly string[]; files: readonly string[] }>

/** Where those files lie. */
export const TRANSCRIPT_FOLDERS: readonly (readonly string[])[] = Object.values(TRANSCRIPT_KINDS).map(
  ({ folder }) => folder,
)

/** Of the files of one conversation together. */
export const TRANSCRIPT_BYTES_MAX = 64 * 1024 ** 2
export const TRANSCRIPT_FILES_MAX = 4096
/** Of the line that names the files. */
export const TRANSCRIPT_HEAD_BYTES_MAX = 4 * 1024 ** 2
/** Of its text so much is told to a fresh start, in code points. */
export const TRANSCRIPT_TEXT_CHARS = 1500
/** So many starts that went on with a conversation may fall before one begins anew. */
export const TRANSCRIPT_TRIES = 2

/** Of the other files below its folders, such as memory and settings, so many are counted. */
export const TRANSCRIPT_LEFT_OUT_MAX = 1_000_000

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

const PART = new RegExp(`^${NAME}$`)
const PART_CHARS_MAX = 200
const FILES = Object.values(TRANSCRIPT_KINDS).map(
  ({ folder, files }) =>
    new RegExp(
      `^${folder.map((part) => (part === '*' ? NAME : part.replace('.', String.raw`\.`))).join('/')}/(?:${files.join('|')})$`,
    ),
)

/** Whether a file below the home is one of a conversation. */
export function isTranscriptPath(path: string): boolean {
  const isName = (part: string) => PART.test(part) && part.length <= PART_CHARS_MAX && part !== '.' && part !== '..'
  return path.split('/').every(isName) && FILES.some((file) => file.test(path))
}

/** The end of a text, in code points. */
export const lastOf = (text: string): string =>
  [...text.slice(-2 * TRANSCRIPT_TEXT_CHARS).toWellFormed()].slice(-TRANSCRIPT_TEXT_CHARS).join('')
