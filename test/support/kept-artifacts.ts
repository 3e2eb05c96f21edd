/** The artifacts of a hub that answers from a table: what was uploaded can be asked for and fetched. */
import { createHash } from 'node:crypto'
import type { CommandHome } from './command-home.ts'
import { refusal } from './fake-hub.ts'

const sha256 = (data: Buffer): string => createHash('sha256').update(data).digest('hex')

/** The routes of artifacts, over a new map from digest to bytes. */
export function keepArtifacts({ hub }: Pick<CommandHome, 'hub'>): Map<string, Buffer> {
  const store = new Map<string, Buffer>()
  for (const route of ['GET /v1/artifacts/:sha256', 'HEAD /v1/artifacts/:sha256'])
    hub.on(route, (asked) => {
      const bytes = store.get(asked.path.split('/')[3] ?? '')
      return bytes === undefined ? refusal('unknown_artifact', 'not here') : { bytes }
    })
  hub.on('PUT /v1/artifacts/:sha256', (asked) => {
    const name = asked.path.split('/')[3] ?? ''
    if (sha256(asked.bytes) !== name) return refusal('schema_invalid', 'digest')
    store.set(name, asked.bytes)
    return { body: { sha256: name, size: asked.bytes.length, name: asked.query.get('name') } }
  })
  return store
}
