/** What a person looks at all day answers at once: the schema library, which takes longer to load than the hub to answer, stays out. */
import { describe, expect, it } from 'vitest'
import { judgeRequest } from '../../../../hub/client/connection.ts'
import { OPERATIONS, type OperationName } from '../../../../hub/protocol/operations.ts'
import { ROUTES } from '../../../../hub/protocol/routes.ts'
import { commandHome } from '../../../support/command-home.ts'
import { modeView, TASK_ID, taskView } from '../../../support/fake-hub.ts'

/** Says on stderr when a package is loaded. */
const TELLS = `data:text/javascript,${encodeURIComponent(
  `import { registerHooks } from 'node:module'
   registerHooks({ resolve(name, context, next) { if (name === 'zod' || name === 'yaml') console.error('loads ' + name); return next(name, context) } })`,
)}`
const env = { NODE_OPTIONS: `--import=${TELLS}` }

const at = commandHome(() => {
  at.hub.on('GET /v1/health', () => ({ body: modeView() }))
  at.hub.on('GET /v1/alerts', () => ({ body: { alerts: [] } }))
  at.hub.on('GET /v1/approvals', () => ({ body: { approvals: [] } }))
  at.hub.on('GET /v1/tasks', () => ({ body: { tasks: [taskView({ state: 'running' })], next: null } }))
  at.hub.on('GET /v1/tasks/:id', () => ({ body: { task: taskView(), attempts: [] } }))
})

describe('the daily reads', () => {
  it.each([[['status']], [['task', 'list']], [['task', 'show', TASK_ID]], [['task', 'show', TASK_ID.slice(-8)]]])(
    '%j loads no schema library',
    async (args) => {
      const { code, stdout, stderr } = await at.runAsProcess(args, { env })
      expect([code, stderr]).toEqual([0, ''])
      expect(stdout).toContain(TASK_ID.slice(-8))
    },
  )

  it('what a person typed is judged by the shapes still', async () => {
    const { code, stderr } = await at.runAsProcess(['task', 'list', '--state', 'asleep'], { env })
    expect(stderr).toMatch(/^loads zod[\s\S]*^hub: state: must be one of /m)
    expect(code).toBe(2)
  })

  it('what is not judged has nothing in it that a shape would refuse', async () => {
    for (const [name, { method, path }] of Object.entries(ROUTES)) {
      const { request } = OPERATIONS[name as OperationName]
      if (method === 'GET' && !path.includes(':')) expect([name, request.safeParse({}).success]).toEqual([name, true])
      else if (!request.safeParse({}).success) await expect(judgeRequest(name as OperationName, {})).rejects.toThrow()
    }
  })
})
