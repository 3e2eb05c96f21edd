/** Additions to the shim: only an image whose card asks holds them, with packages that package-lock.json pins; every other image keeps its bytes. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { loadAddition } from '../../../images/agent/additions.ts'
import { driveOf } from '../../../images/agent/drivers.ts'
import { closureOf } from '../../../scripts/images/additions.ts'
import { assembleImages, commonPrograms } from '../../../scripts/images/assembly.ts'
import { pathsIn } from '../../support/tar-paths.ts'

let root = ''
const put = (path: string, text: string) => {
  mkdirSync(dirname(join(root, path)), { recursive: true })
  writeFileSync(join(root, path), text)
}
const packageAt = (path: string, version: string) => {
  put(`${path}/package.json`, JSON.stringify({ version }))
  put(`${path}/index.js`, `export default '${path}'\n`)
  put(`${path}/index.cjs`, '')
}
const SERVER = 'node_modules/@modelcontextprotocol/server'
const locked = {
  [SERVER]: { version: '2.0.0', dependencies: { zod: '4', core: '1' } },
  [`${SERVER}/node_modules/core`]: { version: '1.0.1', dependencies: { zod: '4' } },
  'node_modules/core': { version: '9.0.0', dependencies: { other: '1' } },
  'node_modules/zod': {
    version: '4.0.0',
    peerDependencies: { absent: '1' },
    peerDependenciesMeta: { absent: { optional: true } },
  },
}

beforeEach(() => {
  root = mkdtempSync('/tmp/hub-additions-')
  put(
    'images/agent/shim.ts',
    "import { connect } from '../../hub/client/agent.ts'\nvoid connect()\nif (process.env.X) await import('./mcp/open.ts')\n",
  )
  put('hub/client/agent.ts', 'export const connect = (): number => 1\n')
  put('hub/protocol/ids.ts', "import { z } from 'zod'\nexport const id = z.string()\n")
  put('images/plain/agent.yaml', 'name: plain\n')
  put('images/asks/agent.yaml', 'name: asks\nmcp: [stdio]\n')
  put(
    'images/agent/mcp/open.ts',
    "import { x } from '@modelcontextprotocol/server'\nimport { id } from '../../../hub/protocol/ids.ts'\nimport { connect } from '../../../hub/client/agent.ts'\nexport const all = [x, id, connect]\n",
  )
  put('images/agent/mcp.ts', "import 'node:net'\n")
  for (const [path, { version }] of Object.entries(locked)) packageAt(path, version)
  put('package-lock.json', JSON.stringify({ packages: locked }))
  put('node', 'n')
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

const assembled = (folders = ['images/plain', 'images/asks']) =>
  assembleImages({
    ...{ root, cacheDir: join(root, 'cache'), folders, prefix: 'hub/' },
    parts: { arch: 'x64', node: join(root, 'node'), libraries: [], own: false },
  })

test('a card that asks gets a layer with the code, its packages and what they need; every other image keeps its id', () => {
  const [, plain, asks] = assembled()
  const added = asks?.layers.filter(({ diffId }) => !plain?.layers.some((each) => each.diffId === diffId)) ?? []
  expect(added.map(({ title }) => title)).toEqual(['hub: mcp for agents'])
  const files = added.flatMap(pathsIn).filter((path) => !path.endsWith('/'))
  expect(files.sort()).toEqual([
    'app/hub/node_modules/@modelcontextprotocol/server/index.js',
    'app/hub/node_modules/@modelcontextprotocol/server/node_modules/core/index.js',
    'app/hub/node_modules/@modelcontextprotocol/server/node_modules/core/package.json',
    'app/hub/node_modules/@modelcontextprotocol/server/package.json',
    'app/hub/node_modules/zod/index.js',
    'app/hub/node_modules/zod/package.json',
    'app/hub/protocol/ids.js',
    'app/images/agent/mcp.js',
    'app/images/agent/mcp/open.js',
    'app/images/agent/node_modules',
  ])
  // For the record of the build; what asks for nothing has nothing in it.
  expect([plain?.additions, asks?.additions]).toEqual([[], ['mcp']])
  const before = plain?.configDigest
  // Neither the addition's code nor its packages are in what every image holds.
  put('images/agent/mcp/more.ts', 'export const b = 1\n')
  put(`${SERVER}/index.js`, 'export default 2\n')
  const [, plainAfter, asksAfter] = assembled()
  expect(plainAfter?.configDigest).toBe(before)
  expect(asksAfter?.configDigest).not.toBe(asks?.configDigest)
  expect(assembled()[2]?.configDigest).toBe(asksAfter?.configDigest)
})

test('what stands in package-lock.json goes in, and nothing else: another version, a package that is not there, one for tests, one with a script', () => {
  packageAt('node_modules/zod', '4.0.1')
  expect(() => assembled()).toThrow('node_modules/zod is 4.0.1, and package-lock.json says 4.0.0; run npm ci')
  rmSync(join(root, 'node_modules/zod'), { recursive: true })
  expect(() => assembled()).toThrow('node_modules/zod is not installed; run npm ci')
  expect(() => closureOf({}, ['zod'])).toThrow('package-lock.json has no zod')
  expect(() => closureOf({ 'node_modules/a': { dependencies: { b: '1' } } }, ['a'])).toThrow(
    'no b, which node_modules/a needs',
  )
  expect(() => closureOf({ 'node_modules/a': { dev: true } }, ['a'])).toThrow('a is a package for tests')
  expect(() => closureOf({ 'node_modules/a': { hasInstallScript: true } }, ['a'])).toThrow('built by a script')
})

test('what every image holds may name an addition by import() only, and an addition imports no package but its own', () => {
  put('images/agent/shim.ts', "import '../../hub/client/agent.ts'\nimport './mcp/open.ts'\n")
  expect(() => assembled()).toThrow(
    'images/agent/shim.ts imports ./mcp/open.ts, which not every image holds; use import()',
  )
  put('images/agent/shim.ts', 'export {}\n')
  put('images/agent/mcp/open.ts', "import 'left-pad'\n")
  expect(() => assembled()).toThrow('images/agent/mcp/open.ts imports left-pad')
  rmSync(join(root, 'images/agent/mcp'), { recursive: true })
  rmSync(join(root, 'images/agent/mcp.ts'))
  expect(() => assembled()).toThrow('images/agent/mcp is missing, and a card asks for it')
  expect(assembled(['images/plain'])).toHaveLength(2)
})

test('the shim of this repository holds nothing of an addition', () => {
  const { files, packages } = commonPrograms(resolve(import.meta.dirname, '../../..'))
  expect([...files.keys()].filter((path) => /^images\/agent\/(?:mcp|acp)(?:\/|\.js$)/.test(path))).toEqual([])
  expect([...packages]).toEqual(['ws'])
})
test('an image that was built before its card asked is refused by name, with what to do; any other fault stays what it is', async () => {
  const absent = join(root, 'absent.js')
  await expect(loadAddition('mcp', () => import(absent))).rejects.toThrow(
    'the card asks for mcp, and this image does not hold it; build it again: hub agent build',
  )
  await expect(loadAddition('mcp', () => Promise.reject(new TypeError('other')))).rejects.toThrow(TypeError)
  for (const driver of ['later', 'toString'])
    await expect(driveOf(driver as 'acp')).rejects.toThrow(`the driver ${driver}, and this image does not know it`)
})
