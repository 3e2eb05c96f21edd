/** How `hub setup` reads a person: pasted lines, secrets that nobody sees, and an end at any moment (issue 11, deliverable 3). */
import { PassThrough } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { createPerson } from '../../../../../hub/client/cli/setup/setup-person.ts'

/** A terminal as readline drives one: its screen shows what the command writes, and nothing else. */
function open(isTerminal: boolean) {
  const input = Object.assign(new PassThrough(), { isTTY: isTerminal, setRawMode: () => undefined })
  const screen = new PassThrough()
  let shown = ''
  screen.on('data', (piece: Buffer) => {
    shown += piece.toString()
  })
  const person = createPerson(input, screen, isTerminal)
  return { input, person, shown: () => shown }
}
/** Until the reader has what was written to it. */
const turn = () => new Promise((done) => setImmediate(done))

describe.each([
  ['a terminal', true],
  ['a pipe', false],
] as const)('from %s', (_, isTerminal) => {
  test('several lines at once answer several questions, and nothing is lost', async () => {
    const { input, person, shown } = open(isTerminal)
    input.write('Europe/Berlin\n\nme@example.org\r\n-\nhal')
    await turn()
    expect(await person.ask('zone', 'UTC')).toBe('Europe/Berlin')
    expect(await person.ask('kept', 'what stands')).toBe('what stands')
    expect(await person.ask('mail', undefined)).toBe('me@example.org')
    expect(await person.ask('emptied', 'old')).toBe('')
    const half = person.ask('half', undefined)
    await turn()
    input.write('f\n')
    expect(await half).toBe('half')
    expect(person.hasAnswered).toBe(true)
    for (const question of ['zone [UTC]: ', 'kept [what stands]: ', 'mail: ', 'half: '])
      expect(shown()).toContain(question)
  })

  test('a secret is never shown: not typed, not pasted before its question, not called up afterwards', async () => {
    const { input, person, shown } = open(isTerminal)
    const first = person.ask('account', undefined)
    input.write('me\nhunter-1\n')
    expect(await first).toBe('me')
    expect(await person.ask('password', undefined, true)).toBe('hunter-1')
    const typed = person.ask('password', undefined, true)
    for (const letter of 'hunter-x') input.write(letter)
    await turn()
    if (isTerminal) input.write('\x7f')
    input.write(isTerminal ? '2\r' : '\n')
    expect(await typed).toBe(isTerminal ? 'hunter-2' : 'hunter-x')
    const after = person.ask('next', undefined)
    // Up, and what it would bring.
    input.write(isTerminal ? '\x1b[A\n' : '\n')
    expect(await after).toBe('')
    expect(shown()).not.toContain('hunter')
  })

  test('what is - or empty as a secret is taken at its word', async () => {
    const { input, person } = open(isTerminal)
    input.write('-\n\n')
    await turn()
    expect(await person.ask('password', undefined, true)).toBe('-')
    expect(await person.ask('password', undefined, true)).toBe('')
  })

  test('the end of it is said, at an open question and at the next; lines that came before it still count', async () => {
    const { input, person } = open(isTerminal)
    input.write('one\n')
    input.end()
    await turn()
    expect(await person.ask('first', undefined)).toBe('one')
    await expect(person.ask('second', undefined)).rejects.toThrow('setup was ended')
    await expect(person.ask('third', undefined)).rejects.toThrow('setup was ended')
    const other = open(isTerminal)
    const asked = other.person.ask('open', undefined)
    other.input.end()
    await expect(asked).rejects.toThrow('setup was ended')
  })
})

test('Ctrl-C ends it, whatever was typed ahead', async () => {
  const { input, person } = open(true)
  input.write('one\ntwo\n\x03')
  await turn()
  await expect(person.ask('first', undefined)).rejects.toThrow('setup was ended')
})

test('what a person types is shown, and only that', async () => {
  const { input, person, shown } = open(true)
  const asked = person.ask('zone', undefined)
  input.write('Europe/Berlin\nunasked')
  await asked
  expect(shown()).toContain('Europe/Berlin')
  expect(shown()).not.toContain('unasked')
})
