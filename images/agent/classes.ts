/** Which class each output gets when it is stored (S1-63), as the program said it for files and folders of `out`. The strictest one counts. */
import { HubError } from '../../hub/base/errors.ts'
import type { DataClass } from '../../hub/protocol/data-class.ts'
import { judgeArtifactName } from '../../hub/protocol/paths.ts'

export interface Classes {
  /** Of a file or a folder below `out`, or `.` for all of it. Throws `schema_invalid`, and `limit_exceeded` above 1024 paths. */
  set(path: string, dataClass: string): void
  /** Undefined where nothing was said. */
  of(name: string): DataClass | undefined
}

/** data-class.ts, which orders them, loads a package that no image carries. */
const STRICTNESS: Readonly<Record<DataClass, number>> = { public: 0, internal: 1, confidential: 2, restricted: 3 }
const PATHS_MAX = 1024
const isClass = (text: string): text is DataClass => Object.hasOwn(STRICTNESS, text)

export function createClasses(): Classes {
  const byPath = new Map<string, DataClass>()
  return {
    set(path, dataClass) {
      const fault = path === '.' ? undefined : judgeArtifactName(path)
      if (fault !== undefined) throw new HubError('schema_invalid', `path: it ${fault}; say it as below out, or "."`)
      if (!isClass(dataClass))
        throw new HubError('schema_invalid', `dataClass: one of ${Object.keys(STRICTNESS).join(' ')}`)
      const known = byPath.get(path)
      if (known === undefined && byPath.size >= PATHS_MAX)
        throw new HubError('limit_exceeded', `over ${PATHS_MAX} paths have a class; name their folder`)
      if (known === undefined || STRICTNESS[dataClass] > STRICTNESS[known]) byPath.set(path, dataClass)
    },
    of(name) {
      const parts = name.split('/')
      const paths = ['.', ...parts.map((_, at) => parts.slice(0, at + 1).join('/'))]
      const said = paths.flatMap((path) => byPath.get(path) ?? [])
      return said.sort((a, b) => STRICTNESS[b] - STRICTNESS[a])[0]
    },
  }
}
