/** The image of the spy: assembled like any agent's, with the program for raw system calls on top. */
import { fileURLToPath } from 'node:url'
import { type Image, imageOf, layerOf } from '../../scripts/images/archive.ts'
import { assembleImages, loadImages } from '../../scripts/images/assembly.ts'
import { createImageEngine } from '../../scripts/images/loading.ts'
import { archOf } from '../../scripts/images/machine.ts'
import { ENGINE_SOCKET } from './engine-socket.ts'
import { rawCallsProgram } from './raw-calls.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

export const imageEngine = createImageEngine({
  socketPath: ENGINE_SOCKET,
  deadlineMs: 60_000,
  loadDeadlineMs: 300_000,
})
export const canCallRaw = archOf() === 'x64'

export function spyImage(): Image {
  const folder = 'test/support/images/spy'
  const options = { root, cacheDir: `${root}.cache/images`, folders: [folder], prefix: 'hub-test/' }
  const spy = assembleImages(options).find(({ reference }) => reference === 'hub-test/spy:latest')
  if (spy === undefined) throw new Error(`${folder} made no image`)
  if (!canCallRaw) return spy
  const helper = layerOf('spy: raw system calls', [
    { path: 'app/raw', kind: 'file', mode: 0o555, data: rawCallsProgram() },
  ])
  return imageOf(spy.reference, [...spy.layers, helper], archOf())
}

/** Loads images under their names; answers them as this engine holds them. */
export const load = (images: readonly Image[]) => loadImages(images, imageEngine, () => {})
