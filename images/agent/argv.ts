/** `{input}`, `{param:name}`, `{earlier}` and the places of wishes in a command's argv. Pure: each value stays inside its one element, and no shell reads it. */
import { HubError } from '../../hub/base/errors.ts'
import { PARAM_PLACE, PLACE_NAMES, placeText, type Wishes } from '../../hub/protocol/wish-places.ts'

const PLACE = new RegExp(`\\{(?:input|(${PLACE_NAMES.join('|')})|${PARAM_PLACE}|(earlier))\\}`, 'g')

export interface Expanded {
  argv: string[]
  /** Whether `{input}` occurs; else the input goes to the command's standard input. */
  namesInput: boolean
}

/**
 * Throws `schema_invalid` for a parameter or wish the task does not have, or an input it was not given. What is put in is not read again.
 * `{earlier}` stays as it is where `earlier`, the end of an earlier conversation, is undefined.
 */
export function expandArgv(
  run: readonly string[],
  given: {
    input: string | undefined
    params: Readonly<Record<string, unknown>>
    spec?: Wishes | undefined
    earlier?: string | undefined
  },
): Expanded {
  let namesInput = false
  const argv = run.map((word) =>
    word.replaceAll(PLACE, (whole, place?: string, name?: string, isEarlier?: string) => {
      if (isEarlier !== undefined) return given.earlier ?? whole
      if (place !== undefined) return wishText(place, given.spec)
      if (name !== undefined) return textOf(name, given.params)
      namesInput = true
      if (given.input === undefined)
        throw new HubError('schema_invalid', 'this command needs an input: hub submit --input DIR')
      return given.input
    }),
  )
  return { argv, namesInput }
}

function wishText(place: string, spec: Wishes = {}): string {
  const text = placeText(place, spec)
  if (text === undefined)
    throw new HubError('schema_invalid', `this command needs a value for {${place}}, and its task has none`)
  return text
}

function textOf(name: string, params: Readonly<Record<string, unknown>>): string {
  const value = Object.hasOwn(params, name) ? params[name] : undefined
  if (value === undefined || value === null) {
    throw new HubError('schema_invalid', `this command needs a parameter: hub submit --param ${name}=VALUE`)
  }
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  if (text.includes('\0')) throw new HubError('schema_invalid', `the parameter ${name} holds a NUL`)
  return text
}
