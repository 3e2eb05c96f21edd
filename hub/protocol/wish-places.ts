/** Puts what is asked of a task's model into its place in a card (wishes.ts). Free of packages: the shim loads it. */
import { dollarsText } from './dollars.ts'

export interface Wishes {
  model?: string | undefined
  system?: string | undefined
  maxTurns?: number | undefined
  /** In millionths of a US dollar. */
  budget?: number | undefined
}

/** What stands in `run` for the parameter of that name. */
export const PARAM_PLACE = 'param:([A-Za-z0-9_-]{1,64})'

/** The parameters that a command line names, each once. */
export const paramsIn = (run: readonly string[]): string[] => [
  ...new Set(
    run.flatMap((word) => [...word.matchAll(new RegExp(`\\{${PARAM_PLACE}\\}`, 'g'))].map(([, name = '']) => name)),
  ),
]

/** The names of places. */
export const PLACE_NAMES = ['model', 'system', 'maxTurns', 'budget', 'budgetUsd'] as const

/** What stands for each place; undefined where there is no value. */
export function placeText(place: string, wishes: Wishes): string | undefined {
  const { model, system, maxTurns, budget } = wishes
  if (place === 'model') return model
  if (place === 'system') return system
  const number = place === 'maxTurns' ? maxTurns : budget
  if (number === undefined) return undefined
  return place === 'budgetUsd' ? dollarsText(number) : String(number)
}

const PLACE = new RegExp(`\\{(${PLACE_NAMES.join('|')})\\}`, 'g')

/** The variables of a card for one task: one whose value is not known is left out. What is put in is not read again. */
export function envWith(env: Readonly<Record<string, string>>, wishes: Wishes): Record<string, string> {
  const filled = Object.entries(env).flatMap(([name, text]): [string, string][] => {
    const known = [...text.matchAll(PLACE)].every(([, place = '']) => placeText(place, wishes) !== undefined)
    return known ? [[name, text.replaceAll(PLACE, (_, place: string) => placeText(place, wishes) ?? '')]] : []
  })
  return Object.fromEntries(filled)
}
