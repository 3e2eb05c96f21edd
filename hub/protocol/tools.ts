/**
 * Tools of agents (docs/permissions.md): what a program says that it is about to use, and how much that can do. Pure, and without a library:
 * the shim reads it too.
 *
 * What a program calls a tool is its own claim. The container and the egress gateway are the boundary, whatever it says; permissions are
 * manners inside that boundary.
 */
import { TIERS, type Tier } from './approval.ts'

/** What happens when a program asks whether it may use a tool: `permissions` of its card. */
export const PERMISSIONS = ['ask', 'allow', 'deny', 'bypass'] as const
export type Permissions = (typeof PERMISSIONS)[number]
export const DEFAULT_PERMISSIONS: Permissions = 'ask'

/** Each in words, for cards and pages. */
export const PERMISSION_WORDS: Readonly<Record<Permissions, string>> = {
  ask: 'a person is asked about each tool',
  allow:
    'a tool that reads, writes or executes is allowed, unless a rule asks or refuses; a person is asked about any other',
  deny: 'each tool is refused',
  bypass: 'as `allow`, and where a rule asks about a tool that reads, writes or executes, nobody is asked',
}

/** The kinds of tools, as the Agent Client Protocol has them, and how much one of a kind can do. */
const TOOL_TIERS = {
  read: 'read',
  search: 'read',
  think: 'read',
  edit: 'write',
  move: 'write',
  execute: 'execute',
  delete: 'destructive',
  // Out of a mode that asks, into one that does not.
  switch_mode: 'destructive',
  fetch: 'external',
  other: 'external',
} as const satisfies Record<string, Tier>

export type ToolKind = keyof typeof TOOL_TIERS
export const TOOL_KINDS = Object.keys(TOOL_TIERS) as [ToolKind, ...ToolKind[]]

/** A kind that is not in the table is `other`, and counts as the highest. */
export const toolKindOf = (said: string): ToolKind => (Object.hasOwn(TOOL_TIERS, said) ? (said as ToolKind) : 'other')

/** How much this tool can do: what its kind implies, or what the program claims where that is more. It never counts for less. */
export function tierOfTool(kind: ToolKind, claimed?: Tier): Tier {
  const implied = TOOL_TIERS[kind]
  return claimed !== undefined && TIERS.indexOf(claimed) > TIERS.indexOf(implied) ? claimed : implied
}

/** A person decides about these, whatever the card says (S4-28). */
const ALWAYS_ASKED: ReadonlySet<Tier> = new Set(['destructive', 'external'])
export const isAlwaysAsked = (tier: Tier): boolean => ALWAYS_ASKED.has(tier)

/** Of the arguments of a tool, as JSON: what a person is shown. What is longer is cut, and said to be. */
export const ARGUMENTS_SHOWN_BYTES_MAX = 3 * 1024
/** What the SDK sends of them; of longer ones their beginning, length and digest. */
export const ARGUMENTS_SENT_BYTES_MAX = 32 * 1024
