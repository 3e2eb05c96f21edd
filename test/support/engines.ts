/** What real engines answered to `/version` and `/info`, recorded 2026-11-29 and shortened to what is read of it. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { componentsOf, type EngineInfo, infoOf } from '../../hub/work/sandbox/engine-answers.ts'

export type Recorded = 'docker-20.10' | 'docker-29' | 'podman-4.3' | 'rootless-20.10'

export function recorded(name: Recorded): {
  engine: { engineVersion: string; components: Record<string, string> }
  info: EngineInfo
} {
  const path = join(import.meta.dirname, 'engines', `${name}.json`)
  const { version, info } = JSON.parse(readFileSync(path, 'utf8')) as {
    version: { Version: string; Components: unknown }
    info: unknown
  }
  return {
    engine: { engineVersion: version.Version, components: componentsOf(version.Components) },
    info: infoOf(info),
  }
}
