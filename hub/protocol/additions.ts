/**
 * Additions to the shim: what an image holds only where its card asks for it (images/README.md, "Additions"). The assembly puts them in, and the hub
 * knows by the same words whether an image was built before its card asked. Pure; used where no package is installed.
 */

/** A card that nobody has judged yet may hold anything. */
type Card = Readonly<Record<string, unknown>>

const ASKED = {
  acp: ({ driver }) => driver === 'acp' || driver === 'acp-v2',
  mcp: ({ mcp }) => Array.isArray(mcp) && mcp.length > 0,
} as const satisfies Readonly<Record<string, (card: Card) => boolean>>

export type AdditionName = keyof typeof ASKED
export const ADDITION_NAMES = Object.keys(ASKED) as AdditionName[]

/** What this card asks for, in the order of the table. */
export const additionsOf = (card: Card): AdditionName[] => ADDITION_NAMES.filter((name) => ASKED[name](card))
