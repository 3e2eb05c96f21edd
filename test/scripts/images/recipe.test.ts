/** Recipes of images: what an image stands on is declared, a shell with its reason, and a base the host lacks stops only its own images. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { imageOf, type Layer, layerOf } from '../../../scripts/images/archive.ts'
import { readRecipe } from '../../../scripts/images/recipe.ts'
import { BaseMissing, pythonLayer, shellLayer } from '../../../scripts/images/tools.ts'

let root = ''
beforeEach(() => {
  root = mkdtempSync('/tmp/hub-recipe-')
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

function put(path: string, text: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true })
  writeFileSync(join(root, path), text)
}
const namesIn = ({ pieces }: Layer) =>
  [...pieces].filter((piece) => piece.subarray(257, 262).toString() === 'ustar').map((head) => nameOf(head))
function nameOf(head: Buffer): string {
  const text = (start: number, end: number) => head.subarray(start, end).toString('latin1').replace(/\0.*$/s, '')
  return [text(345, 500), text(0, 100)].filter((part) => part !== '').join('/')
}

test('without a recipe an image stands on Node alone', () => {
  put('images/x/agent.yaml', 'name: x\n')
  expect(readRecipe(root, 'images/x')).toEqual({ base: 'node' })
})

test.each([
  ['base: shell\n', /reason/],
  ['base: shell\nreason: short\n', /reason/],
  ['base: bash\nreason: a shell of my own\n', /base/],
  ['base: python\nprivileged: true\n', /privileged/i],
  ['- base\n', /recipe/],
])('the recipe %j is refused by name', (text, why) => {
  put('images/x/image.yaml', text)
  expect(() => readRecipe(root, 'images/x')).toThrow(why)
})

test.each([
  ['shell: false', 'base: shell\nreason: it is a shell script\n'],
  ['name: x', 'base: shell\nreason: it is a shell script\n'],
  ['shell: true', 'base: python\n'],
])('a card that says %j beside another recipe is refused: what is shown of an image must be so', (card, recipe) => {
  put('images/x/agent.yaml', `${card}\n`)
  put('images/x/image.yaml', recipe)
  expect(() => readRecipe(root, 'images/x')).toThrow(/make them agree/)
})

test('an image with a note carries it as the comment of its last layer, and nothing else changes', () => {
  const layers = [layerOf('a', []), layerOf('b', [])]
  const [plain, noted] = ['', 'exception: shell'].map((note) => imageOf('hub/x:latest', layers, 'x64', note))
  const history = (config?: Buffer) => (JSON.parse(String(config)) as { history: object[] }).history
  expect(history(plain?.config).map((entry) => Object.keys(entry))).toEqual(Array(2).fill(['created', 'created_by']))
  expect(history(noted?.config)).toMatchObject([{}, { comment: 'exception: shell' }])
  expect(noted?.configDigest).not.toBe(plain?.configDigest)
})

test('the base shell holds a shell and its tools, and the same host gives the same layer', () => {
  const layer = shellLayer()
  expect(namesIn(layer)).toEqual(expect.arrayContaining(['bin/sh', 'usr/bin/cat', 'usr/bin/wc']))
  expect(shellLayer().diffId).toBe(layer.diffId)
})

test('the base python holds the standard library, and neither a shell, nor packages, nor what reaches a network', (context) => {
  let layer: ReturnType<typeof pythonLayer>
  try {
    layer = pythonLayer()
  } catch (thrown) {
    expect(thrown).toBeInstanceOf(BaseMissing)
    return context.skip('no python3 here')
  }
  const names = namesIn(layer)
  expect(names).toContain('usr/local/bin/python3')
  expect(names.some((name) => /^usr\/local\/lib\/python3\.\d+\/json\/decoder\.py$/.test(name))).toBe(true)
  expect(names.filter((name) => /(?:^|\/)(?:sh|site-packages|pip|_ssl\.|test|__pycache__)(?:\/|$)/.test(name))).toEqual(
    [],
  )
  expect(pythonLayer().diffId).toBe(layer.diffId)
})

test('a Python without a standard library is a missing base, not a broken build', () => {
  mkdirSync(join(root, 'bin'))
  writeFileSync(join(root, 'bin/python3'), '#!/bin/sh\nprintf "3.99\\n/nowhere\\n"\n', { mode: 0o755 })
  expect(() => pythonLayer(join(root, 'bin/python3'))).toThrow(BaseMissing)
})
