/** What is below its floor (sandbox.md section 9): engine, runc, kernel, Node. Pure. */
import type { Check } from './doctor.ts'

export interface Versions {
  engine: string
  api: string
  /** '' where the engine does not tell it. */
  runc: string
  /** As `uname -r` says. */
  kernel: string
  node: string
}

const SAFE_ENGINE = [29, 4, 3]
const TRIED = 'tried with Docker 20.10, 26.1 and 29.6, on x86-64'
const NODE_LEAST = [24, 0, 0]
/** The first release of each line that has the fixes; a later line has them all. */
const RUNC_FIXED = [
  [1, 2, 8],
  [1, 3, 3],
  [1, 4, 0],
]
const KERNEL_FIXED = [
  [6, 6, 137],
  [6, 18, 22],
  [6, 19, 13],
  [7, 0, 0],
]

const readVersion = (text: string): number[] | undefined =>
  /(\d+)\.(\d+)(?:\.(\d+))?/
    .exec(text)
    ?.slice(1)
    .map((part) => Number(part ?? 0))

const isAtLeast = (version: readonly number[], floor: readonly number[]): boolean => {
  for (const [place, part] of floor.entries()) {
    const found = version[place] ?? 0
    if (found !== part) return found > part
  }
  return true
}

/** Whether its own line (first two numbers) has the fix, or the line is younger than all of those. */
function isFixed(version: readonly number[], fixed: readonly (readonly number[])[]): boolean {
  const line = fixed.find(([major, minor]) => major === version[0] && minor === version[1])
  return isAtLeast(version, line ?? fixed.at(-1) ?? [])
}

const text = (floors: readonly (readonly number[])[]) => floors.map((each) => each.join('.')).join(', ')

function row(name: string, found: string, ok: boolean | undefined, lacks: string, mend: string): Check {
  if (ok === undefined)
    return {
      name,
      ok: null,
      detail: `its version is not known${found && `: ${found}`}`,
      // What was not asked is no reason to update it.
      mend: found === '' ? 'start the engine, then hub doctor' : mend,
    }
  return { name, ok: ok ? true : null, detail: ok ? found : `${found}; ${lacks}`, mend }
}

/** The engine's row; below its floor it works, and is worth an upgrade. */
export function engineFloor({ engine, api }: Pick<Versions, 'engine' | 'api'>): Check {
  const version = readVersion(engine)
  const lacks = `below the safe floor ${SAFE_ENGINE.join('.')}, where only our own seccomp profile blocks AF_ALG`
  const ok = version !== undefined && isAtLeast(version, SAFE_ENGINE)
  return row(
    'engine',
    `version ${engine}, API ${api} (${TRIED})`,
    ok,
    lacks,
    'upgrade the engine when your distribution offers it',
  )
}

/** The rows beside the engine's. */
export function otherFloors({ runc, kernel, node }: Pick<Versions, 'runc' | 'kernel' | 'node'>): Check[] {
  const [ofRunc, ofKernel, ofNode] = [runc, kernel, node].map(readVersion)
  return [
    row(
      'runc',
      runc,
      ofRunc && isFixed(ofRunc, RUNC_FIXED),
      `the fixes of CVE-2025-31133, CVE-2025-52565 and CVE-2025-52881 came with ${text(RUNC_FIXED)}; a distribution may have them under an older number`,
      'sudo apt-get update && sudo apt-get install --only-upgrade runc, or containerd.io where Docker came from docker.com',
    ),
    row(
      'kernel',
      kernel,
      ofKernel && isFixed(ofKernel, KERNEL_FIXED),
      `the fix of CVE-2026-31431 came with ${text(KERNEL_FIXED)}; a distribution may have it under an older number, and agents reach no AF_ALG`,
      'sudo apt-get update && sudo apt-get upgrade, then reboot',
    ),
    row(
      'node',
      node,
      ofNode && isAtLeast(ofNode, NODE_LEAST),
      `below ${NODE_LEAST.join('.')}, which this is made for`,
      '`. scripts/node` puts a fitting one on PATH; then hub restart',
    ),
  ]
}
