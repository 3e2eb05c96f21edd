/** Where a person may have lines written to. */
import { isAbsolute, posix } from 'node:path'

export const LOG_PLACE = 'must be below `logs/` of the home, such as logs/mine.log, or an absolute path'

/** Whether a path of `hub.yaml` is such a place. Nothing else of the home is ever appended to, or rotated. */
export const isLogPlace = (path: string): boolean => isAbsolute(path) || /^logs\/[^/]/.test(posix.normalize(path))

/** Where the lines of the hub itself and its alerts go, if `hub.yaml` says nothing else. */
export const HUB_LOG = 'logs/hub.log'
export const ALERTS_FILE = 'logs/alerts.log'
