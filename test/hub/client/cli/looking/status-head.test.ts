/** The head of the audit log on the status screen: one of the places outside the log where it stands (X14). */
import { expect, it } from 'vitest'
import { commandHome } from '../../../../support/command-home.ts'
import { modeView } from '../../../../support/fake-hub.ts'

const at = commandHome()

it('status shows how long the audit log is, and its head [audit-25]', async () => {
  const head = '0123456789abcdef'.repeat(4)
  at.hub.on('GET /v1/health', () => ({
    body: modeView({ auditSize: 4321, auditHead: head }),
  }))
  const shown = await at.run(['status'])
  expect(shown.stdout, shown.stderr).toMatch(/audit +4321 records, head 0123456789abcdef\n/)
})
