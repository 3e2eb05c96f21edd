/** `hub doctor`: what is wrong, and how to fix it. */
import { execFile } from 'node:child_process'
import type { CheckView } from '../../answers.ts'
import { EXIT, Problem, toProblem } from '../../problem.ts'
import type { Run } from '../context.ts'
import { hubArgv } from '../processes.ts'
import { clean, type Paint } from '../text.ts'

/** A running hub answers this at once; the doctor's own checks may take longer. */
const THERE_MS = 5_000

/** The checks as a separate process makes them, without the hub (edge/doctor/alone.ts). */
function checksAlone(home: string): Promise<CheckView[]> {
  return new Promise((resolve, reject) => {
    const options = { timeout: 60_000, maxBuffer: 4 * 1024 ** 2 }
    execFile(process.execPath, hubArgv(home, 'doctor'), options, (error, stdout, stderr) => {
      try {
        resolve((JSON.parse(stdout) as { checks: CheckView[] }).checks)
      } catch {
        const why = stderr.trim().split('\n').at(-1) || error?.message || 'it said nothing'
        const text = `the hub does not answer, and the checks without it failed: ${why}`
        reject(new Problem('unreachable', 'unavailable', text, '`hub up`; if it fails, see logs/hub.log'))
      }
    })
  })
}

/** Exit 1 if any check is red; amber (unknown) ones do not count. If the hub is dead, the checks run without it. */
export const doctor: Run = async ({ hub, home, json, terminal }) => {
  const isThere = await hub.call('health.show', {}, { deadlineMs: THERE_MS }).then(
    () => true,
    (thrown) => {
      // Any answer shows that it runs. A socket that another account could have made is an error, not a dead hub.
      if (toProblem(thrown).code === 'not_private') throw thrown
      return toProblem(thrown).code !== 'unreachable'
    },
  )
  const { checks }: { checks: CheckView[] } = isThere
    ? await hub.call('doctor.run', {}, { deadlineMs: 60_000 })
    : { checks: await checksAlone(home) }
  if (json) terminal.json(checks)
  else terminal.out(doctorText(checks, terminal.paint))
  return checks.some(({ ok }) => ok === false) ? EXIT.fault : EXIT.done
}

/** Each check in one line, how to fix it on the next line. */
export function doctorText(checks: readonly CheckView[], paint: Paint): string {
  const width = Math.max(0, ...checks.map(({ name }) => name.length))
  return checks
    .map(({ name, ok, detail, mend }) => {
      const mark = ok === true ? paint('green', 'ok  ') : ok === false ? paint('red', 'FAIL') : paint('yellow', '?   ')
      const line = `${mark}  ${clean(name).padEnd(width)}  ${clean(detail)}`
      return mend && ok !== true ? `${line}\n      ${clean(mend)}` : line
    })
    .join('\n')
}
