/** What tasks left, as people list it; agents see their own through agents/artifacts.ts. */
import type { Artifacts } from '../../work/artifacts.ts'
import { type Handlers, handler } from '../serve.ts'

interface Query {
  task?: string
  quarantined: boolean
  limit: number
  cursor?: string
  part?: string
}

export function artifactHandlers({ artifacts }: { artifacts: Artifacts }): Handlers {
  return {
    'artifact.list': handler({
      effect: (_grant, { task, quarantined, limit, cursor, part }: Query) => {
        if (task !== undefined)
          return { artifacts: artifacts.list(task, quarantined).map((row) => ({ ...row, task })), next: null }
        const offset = Number(cursor ?? 0)
        const rows = artifacts.recent({ limit, offset, quarantined, ...(part === undefined ? {} : { part }) })
        return { artifacts: rows, next: rows.length < limit ? null : String(offset + limit) }
      },
    }),
  }
}
