/** npm itself: where this machine has it, and what of it goes into an image. */
import { existsSync, readdirSync, realpathSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileData, type TarEntry } from './tar.ts'

const PLACE = 'usr/local/lib/node_modules/npm'

/** The folder of a whole npm, with its own packages in it: beside the Node that runs this, or at a fixed place. Undefined where there is none. */
export function npmFolder(): string | undefined {
  const places = [
    join(dirname(realpathSync(process.execPath)), '../lib/node_modules/npm'),
    '/usr/local/lib/node_modules/npm',
    '/usr/lib/node_modules/npm',
  ]
  // Debian's own package spreads those over other folders.
  return places.find((place) => ['bin/npm-cli.js', 'node_modules'].every((name) => existsSync(join(place, name))))
}

/** npm and npx, without their manuals. Undefined where this machine has no npm. */
export function npmEntries(): TarEntry[] | undefined {
  const folder = npmFolder()
  if (folder === undefined) return undefined
  const link = (name: string): TarEntry => ({
    path: `usr/local/bin/${name}`,
    kind: 'link',
    mode: 0o777,
    target: `/${PLACE}/bin/${name}-cli.js`,
  })
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort()
  return [
    ...files.flatMap((path): TarEntry[] => {
      const from = join(folder, path)
      if (/^(?:docs|man)\//.test(path) || !statSync(from).isFile()) return []
      return [
        { path: `${PLACE}/${path}`, kind: 'file', mode: /^bin\//.test(path) ? 0o755 : 0o444, data: fileData(from) },
      ]
    }),
    link('npm'),
    link('npx'),
  ]
}
