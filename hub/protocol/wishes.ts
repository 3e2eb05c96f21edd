/**
 * What may be said of a task for the model of its agent (S4-6): which one, its system prompt, how many turns, how much money. How the
 * shim puts it in its place: wish-places.ts.
 *
 * W1. A program of the SDK or of JSON lines is told all of them. Any other program is told those that its card gives a place: `{model}`,
 *     `{system}`, `{maxTurns}`, `{budget}` (millionths of a US dollar) or `{budgetUsd}` (US dollars) in `run` or `env`. One of the Agent
 *     Client Protocol is told model and system prompt by that protocol where its card has no place.
 * W2. What is asked for and has no place is refused by name, and so is a place in `run` for which there is no value. A variable of `env` whose
 *     value is not known is left out.
 * W3. `budget` is a hint of what is left for the task. What the hub itself allows is in hub.yaml and the rules, and binds alone.
 */
import { canDo, type DriverName } from './drivers.ts'
import type { Wishes } from './wish-places.ts'

type WishName = keyof Wishes
const WISH_NAMES = ['model', 'system', 'maxTurns', 'budget'] as const satisfies readonly WishName[]

/** In words, the option of `hub submit`, and the places in a card. */
const WISHES: Readonly<Record<WishName, { what: string; option: string; places: readonly string[] }>> = {
  model: { what: 'a model', option: '--model NAME', places: ['{model}'] },
  system: { what: 'a system prompt', option: '--system TEXT', places: ['{system}'] },
  maxTurns: { what: 'a number of turns', option: '--max-turns N', places: ['{maxTurns}'] },
  budget: { what: 'an amount of money', option: '--usd AMOUNT', places: ['{budget}', '{budgetUsd}'] },
}

/** What a card says of how its program is told. */
export interface WishCard {
  name: string
  driver: DriverName
  run: readonly string[]
  env: Readonly<Record<string, string>>
  defaults?: Pick<Wishes, 'model' | 'system' | 'maxTurns'> | undefined
}

const names = (words: readonly string[], wish: WishName) =>
  words.some((word) => WISHES[wish].places.some((place) => word.includes(place)))

/** What the protocol of a driver itself has a place for. */
const BY_PROTOCOL: Partial<Record<DriverName, readonly WishName[]>> = {
  acp: ['model', 'system'],
  'acp-v2': ['model', 'system'],
}

/** Whether the program of this card is told this. */
const isTold = ({ driver, run, env }: WishCard, wish: WishName): boolean =>
  canDo(driver, 'takesWishes') ||
  BY_PROTOCOL[driver]?.includes(wish) === true ||
  names(run, wish) ||
  names(Object.values(env), wish)

/** What a task of this agent has: what was asked for, and the card's own for the rest. */
const wishesOf = ({ defaults }: Pick<WishCard, 'defaults'>, asked: Wishes): Wishes => ({ ...defaults, ...asked })

/** Why an agent cannot be given a task with these wishes, naming one of them; undefined if it can (W2). */
export function wishFault(card: WishCard, asked: Wishes): string | undefined {
  const given = wishesOf(card, asked)
  for (const wish of WISH_NAMES) {
    const { what, option, places } = WISHES[wish]
    if (asked[wish] !== undefined && !isTold(card, wish))
      return `spec.${wish}: agent ${card.name} has no place for ${what}: write ${places.join(' or ')} into run or env of its card`
    if (given[wish] === undefined && !canDo(card.driver, 'takesWishes') && names(card.run, wish)) {
      const other = wish === 'budget' ? '' : `, or defaults.${wish} in its card`
      return `spec.${wish}: agent ${card.name} needs ${what}: hub submit ${option}${other}`
    }
  }
  return undefined
}
