/** Templates, once a run has values: what is put in, and what never is (the rest: definition.test.ts). */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { render, renderWords, type Scope } from '../../../../hub/protocol/runs/template.ts'

const SCOPE: Scope = {
  params: {
    goal: 'win',
    count: 3,
    list: ['a', 'b'],
    map: { deep: { er: true } },
    dash: '-rf',
    open: '{{ params.goal }}',
  },
  steps: new Map([
    ['edit', { state: 'completed', value: { branch: 'hub/x', none: null, files: [{ name: 'f' }] }, error: null }],
    ['look', { state: 'failed', value: null, error: 'it broke' }],
  ]),
}

describe('a template (S3-25, S3-51)', () => {
  it.each([
    ['{{ params.goal }}', 'win'],
    ['{{params.goal}}!', 'win!'],
    ['{{ params.count }}', 3],
    ['n={{ params.count }}', 'n=3'],
    ['{{ params.list }}', ['a', 'b']],
    ['{{ params.list.1 }}', 'b'],
    ['l={{ params.list }}', 'l=["a","b"]'],
    ['{{ params.map.deep.er }}', true],
    ['{{ steps.edit.value.branch }} {{ steps.edit.state }}', 'hub/x completed'],
    ['{{ steps.edit.value.files.0.name }}', 'f'],
    ['{{ steps.edit.value.none }}', null],
    ['{{ steps.edit.error }}', null],
    ['{{ steps.look.error }}', 'it broke'],
    ['{{ steps.look.value.any.thing }}', null],
    ['[{{ steps.look.value }}]', '[]'],
    ['no template } }} {', 'no template } }} {'],
  ])('%j becomes %j', (text, value) => {
    expect(render(text, SCOPE)).toEqual(value)
    expect(render({ a: [text] }, SCOPE)).toEqual({ a: [value] })
  })

  it.each([
    ['{{ params.gaol }}', /\{\{ params\.gaol \}\}: the run has no such parameter/],
    ['{{ params.constructor }}', /the run has no such parameter/],
    ['{{ params.goal.length }}', /there is no length/],
    ['{{ params.list.length }}', /there is no length/],
    ['{{ params.list.2 }}', /there is no 2/],
    ['{{ params.map.constructor }}', /there is no constructor/],
    ['{{ steps.edit.value.brnch }}', /there is no brnch/],
    ['{{ steps.none.value }}', /the run has no such step/],
    ['{{ error }}', /nothing failed before this/],
    ['{{ 7 * 7 }}', /is no path/],
  ])('%j is an error that names it', (text, message) => {
    expect(() => render(text, SCOPE)).toThrow(message)
  })

  it('is put in once: what a value holds is never read again', () => {
    expect(render('{{ params.open }} {{ params.goal }}', SCOPE)).toBe('{{ params.goal }} win')
    expect(render('{{ error }}', { ...SCOPE, fault: '{{ params.goal }}' })).toBe('{{ params.goal }}')
    fc.assert(
      fc.property(fc.string(), fc.string(), (one, other) => {
        const scope: Scope = { params: { one, other }, steps: new Map() }
        expect(render('<{{ params.one }}|{{ params.other }}>', scope)).toBe(`<${one}|${other}>`)
      }),
    )
  })

  it('takes no more than 256 KiB with all that is put in, and says so before it has more', () => {
    const params = { big: 'x'.repeat(200_000) }
    expect(render('{{ params.big }}', { params, steps: new Map() })).toHaveLength(200_000)
    for (const value of ['{{ params.big }}{{ params.big }}', ['{{ params.big }}', '{{ params.big }}']])
      expect(() => render(value, { params, steps: new Map() })).toThrow('larger than 262144 bytes')
  })
})

describe('a template in a command (S2-33)', () => {
  it('stays one word, whatever it holds', () => {
    const params = { a: 'x; rm -rf / | $(y)', n: 3, b: false }
    const words = renderWords(['npm', '{{ params.a }}', '{{ params.n }}', '{{ params.b }}'], {
      params,
      steps: new Map(),
    })
    expect(words).toEqual(['npm', 'x; rm -rf / | $(y)', '3', 'false'])
  })

  it('is no option unless -- stands before it', () => {
    expect(() => renderWords(['rm', '{{ params.dash }}'], SCOPE)).toThrow(
      'the value begins with -; write "--" before it',
    )
    expect(renderWords(['rm', '--', '{{ params.dash }}'], SCOPE)).toEqual(['rm', '--', '-rf'])
  })

  it.each([
    ['{{ params.map }}', /a word of a command is a text, a number, true or false/],
    ['{{ steps.look.value }}', /a word of a command is a text/],
    ['x{{ params.goal }}', /must be one whole word/],
    ['{{ params.nul }}', /holds a NUL/],
  ])('%j is refused', (word, message) => {
    const scope = { ...SCOPE, params: { ...SCOPE.params, nul: 'a\0b' } }
    expect(() => renderWords(['a', word], scope)).toThrow(message)
  })

  it('is never the program', () => {
    expect(() => renderWords(['{{ params.goal }}'], SCOPE)).toThrow('the first word of a command is a program')
  })
})
