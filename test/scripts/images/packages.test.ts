import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { layerOf } from '../../../scripts/images/archive.ts'
import { gatherPrograms, programEntries } from '../../../scripts/images/programs.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))

test('the SDK carries `ws` into the image, its own scripts only, where it looks for it, and the layer is the same each time', () => {
  const make = () => programEntries(root, gatherPrograms(root, ['hub/client/agent.ts'], new Set()))
  const paths = make().map(({ path }) => path)
  expect(paths).toEqual(
    expect.arrayContaining(['app/hub/client/agent/fast-line.js', 'app/node_modules/ws/package.json']),
  )
  expect(paths).toContain('app/node_modules/ws/wrapper.mjs')
  const packaged = paths.filter((path) => path.includes('node_modules'))
  expect(packaged.every((path) => /^app\/node_modules\/ws\/(?:lib\/)?[\w-]+\.(?:js|mjs|json)$/.test(path))).toBe(true)
  expect(layerOf('x', make()).diffId).toBe(layerOf('x', make().reverse()).diffId)
})
