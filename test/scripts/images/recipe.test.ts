/** Recipes of images: what an image stands on is declared, a shell with its reason, and a base the host lacks stops only its own images. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { imageOf, layerOf } from '../../../scripts/images/archive.ts'
import { BaseMissing } from '../../../scripts/images/host-files.ts'
import { pythonLayer } from '../../../scripts/images/python.ts'
import { readRecipe } from '../../../scripts/images/recipe.ts'
import { codingLayer, shellLayer, toolsBeside, toolsLayer } from '../../../scripts/images/tools.ts'
import { pathsIn } from '../../support/tar-paths.ts'

let root = ''
beforeEach(() => {
  root = mkdtempSync('/tmp/hub-recipe-')
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

function put(path: string, text: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true })
  writeFileSync(join(root, path), text)
}

test('without a recipe an image stands on Node alone', () => {
  put('images/x/agent.yaml', 'name: x\n')
  expect(readRecipe(root, 'images/x')).toEqual({ base: 'node' })
})

test.each([
  ['base: shell\n', /line 1, column \d+: reason: is missing: an image with a shell says why/],
  ['base: shell\nreason: short\n', /line 2, column 9: reason: must have at least 10 characters/],
  ['base: bash\nreason: a shell of my own\n', /line 1, column 7: base: must be one of node, python, shell, coding/],
  ['base: python\nprivileged: true\n', /line 2, column 1: privileged: there is no such key/],
  ['- base\n', /line 1, column 1: must be a map of keys, and is a list/],
  ['tools: [git]\nreason: it has no shell at all\n', /line 2, column 9: reason: is only for an image with a shell/],
  ['tools: [bash]\n', /reason: is missing/],
  ['tools: [git, ../git]\n', /line 1, column 14: tools\[1\]: a tool is the name of a program/],
  ['tools: [git, git]\n', /line 1, column 14: tools\[1\]: git is there twice/],
  [
    'packages:\n  npm: [left-pad]\n',
    /line 2, column 9: packages\.npm\[0\]: .* exact version, such as left-pad@1\.3\.0/,
  ],
  ['packages:\n  npm: [left-pad@^1.3.0]\n', /packages\.npm\[0\]: .* exact version/],
  ['packages:\n  npm: ["left-pad@https://example.org/x.tgz"]\n', /packages\.npm\[0\]: .* exact version/],
  ['packages:\n  npm: [a@1.0.0, a@2.0.0]\n', /line 2, column 18: packages\.npm\[1\]: a is there twice/],
  ['base: python\npackages:\n  pip: [requests>=2]\n', /line 3, column 9: packages\.pip\[0\]: .* NAME==VERSION/],
  [
    'base: python\npackages:\n  pip: [A_b==1.0, a-B==1.1]\n',
    /line 3, column 19: packages\.pip\[1\]: a-b is there twice/,
  ],
  ['packages:\n  pip: [requests==2.32.3]\n', /line 2, column 8: packages\.pip: packages of Python need Python/],
  ['packages:\n  gem: [rails]\n', /line 2, column 3: packages\.gem: there is no such key/],
  ['from: debian:12\nbase: node\n', /line 2, column 7: base: .* remove this key/],
  ['from: debian:12\ntools: [git]\n', /line 2, column 8: tools: .* remove this key/],
  ['from: --privileged\n', /line 1, column 7: from: an image is the name or the id/],
  ['base: python\nbase: node\n', /line 2, column 1: .*twice/],
])('the recipe %j is refused by name, with its line', (text, why) => {
  put('images/x/image.yaml', text)
  expect(() => readRecipe(root, 'images/x')).toThrow(why)
})

test('--from stands in for the file, and is refused beside what the file wants in the image', () => {
  put('images/x/agent.yaml', 'name: x\nshell: true\n')
  expect(readRecipe(root, 'images/x', 'own:1')).toEqual({ from: 'own:1' })
  put('images/x/image.yaml', 'from: other:2\n')
  expect(readRecipe(root, 'images/x')).toEqual({ from: 'other:2' })
  expect(readRecipe(root, 'images/x', 'own:1')).toEqual({ from: 'own:1' })
  put('images/x/image.yaml', 'base: shell\nreason: it is a shell script\n')
  expect(() => readRecipe(root, 'images/x', 'own:1')).toThrow(
    /image\.yaml says base, reason, and --from names an image/,
  )
})

test.each([
  ['shell: false', 'base: shell\nreason: it is a shell script\n'],
  ['name: x', 'base: shell\nreason: it is a shell script\n'],
  ['shell: true', 'base: python\n'],
  ['shell: false', 'base: coding\nreason: it works on a repository\n'],
  ['shell: true', 'tools: [git]\n'],
])('a card that says %j beside another recipe is refused: what is shown of an image must be so', (card, recipe) => {
  put('images/x/agent.yaml', `${card}\n`)
  put('images/x/image.yaml', recipe)
  const way =
    card === 'shell: true' ? /make them agree: take `shell: true` out of/ : /make them agree: write `shell: true` into/
  expect(() => readRecipe(root, 'images/x')).toThrow(way)
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
  expect(pathsIn(layer)).toEqual(expect.arrayContaining(['bin/sh', 'usr/bin/cat', 'usr/bin/wc']))
  expect(shellLayer().diffId).toBe(layer.diffId)
})

test('tools come with their libraries and what they need while they run, whatever the order they are named in', () => {
  const layer = toolsLayer(['make', 'git'])
  const names = pathsIn(layer)
  expect(names).toEqual(expect.arrayContaining(['usr/bin/git', 'usr/bin/make']))
  expect(names.some((name) => /\/git-core\/git-sh-setup$/.test(name))).toBe(true)
  expect(names.some((name) => /share\/git-core\/templates\//.test(name))).toBe(true)
  expect(names.filter((name) => /\.sample$|git-(?:daemon|svn|p4)$/.test(name))).toEqual([])
  expect(
    names.some((name) => /\/libc\.so/.test(name)),
    'the base has it',
  ).toBe(false)
  expect(layer.pieces.length, 'most of its programs are links to one').toBeLessThan(60_000_000)
  const idOf = (tools: string[]) => imageOf('hub/x:latest', [toolsLayer(tools)], 'x64').configDigest
  expect(idOf(['git', 'make'])).toBe(idOf(['make', 'git']))
})

test('the base coding holds git, bash and the tools of a coding agent; what the base has is not added again', () => {
  const said: string[] = []
  const names = pathsIn(codingLayer((line) => said.push(line)))
  expect(names).toEqual(expect.arrayContaining(['usr/bin/bash', 'bin/bash', 'usr/bin/git', 'usr/bin/tar']))
  expect(toolsBeside('coding', ['git', 'sh', 'cat', 'python3', 'strace'])).toEqual(['strace'])
})

test.each([
  ['no-such-tool', /this machine has no no-such-tool in \/usr\/bin/],
  ['perl', /perl needs more files than its program; use an image that has it: from: IMAGE/],
  ['node', /node is in every image/],
  ['ldd', /ldd is a script \(\/usr\/bin\/ldd\)/],
])('the tool %s is refused by name', (name, why) => {
  expect(() => toolsLayer([name])).toThrow(why)
})

test('the base python holds the standard library, TLS with certificates, and neither a shell nor packages', (context) => {
  let layer: ReturnType<typeof pythonLayer>
  try {
    layer = pythonLayer()
  } catch (thrown) {
    expect(thrown).toBeInstanceOf(BaseMissing)
    return context.skip('no python3 here')
  }
  const names = pathsIn(layer)
  expect(names).toContain('usr/local/bin/python3')
  expect(names.some((name) => /^usr\/local\/lib\/python3\.\d+\/json\/decoder\.py$/.test(name))).toBe(true)
  expect(names.filter((name) => /(?:^|\/)(?:sh|site-packages|pip|test|__pycache__)(?:\/|$)/.test(name))).toEqual([])
  expect(names.some((name) => /\/_ssl\.[^/]*so$/.test(name))).toBe(true)
  expect(names).toContain('etc/ssl/certs/ca-certificates.crt')
  expect(pythonLayer().diffId).toBe(layer.diffId)
})

test('a Python without a standard library is a missing base, not a broken build', () => {
  mkdirSync(join(root, 'bin'))
  writeFileSync(join(root, 'bin/python3'), '#!/bin/sh\nprintf "3.99\\n/nowhere\\n"\n', { mode: 0o755 })
  expect(() => pythonLayer(join(root, 'bin/python3'))).toThrow(BaseMissing)
})
