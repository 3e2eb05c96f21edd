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
 * W4. A parameter that `run` names and the task lacks is refused by name, before a container is made for it. A program of the SDK or of JSON
 *     lines is told its parameters and judges them itself; one of the Agent Client Protocol has its first prompt from `task`.
 */
import { canDo, type DriverName } from './drivers.ts'
import { paramsIn, type Wishes } from './wish-places.ts'

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
  /** A chat waits for its first prompt. */
  mode?: 'task' | 'service' | 'chat' | undefined
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

/** The parameters without which its program cannot begin (W4). */
function paramsNeeded({ driver, run, mode }: WishCard): string[] {
  if (driver === 'sdk' || driver === 'json-lines') return []
  const isPrompted = (driver === 'acp' || driver === 'acp-v2') && mode !== 'chat'
  return [...new Set([...paramsIn(run), ...(isPrompted ? ['task'] : [])])]
}

/** Why an agent cannot be given a task with these parameters, naming all that it lacks; undefined if it can (W4). */
export function paramFault(card: WishCard, params: Readonly<Record<string, unknown>>): string | undefined {
  const given = (name: string) => (Object.hasOwn(params, name) ? params[name] : undefined)
  const needed = paramsNeeded(card)
  const lacking = needed.filter((name) => given(name) === undefined || given(name) === null)
  if (lacking.length > 0) {
    const what = lacking.length === 1 ? 'the parameter' : 'the parameters'
    return `params: agent ${card.name} needs ${what} ${lacking.join(', ')}: add ${lacking.map((name) => `--param ${name}=...`).join(' ')}`
  }
  const odd = needed.find((name) => typeof given(name) === 'string' && String(given(name)).includes('\0'))
  return odd === undefined ? undefined : `params.${odd}: it holds a NUL, which no argument of a program can`
}

/** Why an agent cannot be given this task; undefined if it can. */
export const taskFault = (
  card: WishCard,
  { spec, params }: { spec?: Wishes | null | undefined; params?: Readonly<Record<string, unknown>> | undefined },
): string | undefined => wishFault(card, spec ?? {}) ?? paramFault(card, params ?? {})

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
