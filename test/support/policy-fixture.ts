/** The shipped, really compiled policy in a folder of its own, with a database that has the table `decision`. */
import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import Database from 'better-sqlite3'
import type { Clock } from '../../hub/base/clock.ts'
import { systemRandom } from '../../hub/base/random.ts'
import { createAccepted } from '../../hub/guard/policy/accepted.ts'
import { createPolicy, type Policy, type PolicyParts, type PolicyTerms } from '../../hub/guard/policy/bundle.ts'
import { createDecisions, type Decisions } from '../../hub/guard/policy/decisions.ts'
import type { PolicyInput } from '../../hub/guard/policy/engine.ts'
import type { Principal } from '../../hub/guard/principal.ts'
import { makeCandidate, writeCandidate } from '../../hub/home/policy-seal.ts'
import type { Authority } from '../../hub/protocol/task.ts'
import { createFakeClock } from './fake-clock.ts'

const found = spawnSync(fileURLToPath(new URL('../../scripts/opa', import.meta.url)), ['--path'])
/** Whether this machine can compile rules. */
export const hasOpa = found.status === 0

export const shippedPolicies = fileURLToPath(new URL('../../policies', import.meta.url))

/** What the rules see of a task that a person asks for, of this agent. */
export const askedFor = (agent: string | null, needs: string[] = []) => ({
  agent,
  needs,
  origin: { by: 'people', parent: null },
  inputs: 'none',
})

export interface PolicyFolder {
  bundleDir: string
  dataPath: string
  readData(): { agents: Record<string, Record<string, unknown>> }
  writeData(data: unknown): void
  read(name: string): Buffer
  write(name: string, bytes: Buffer | string): void
  [Symbol.dispose](): void
}

export function policyFolder(): PolicyFolder {
  const home = mkdtempSync(join(tmpdir(), 'hub-policy-'))
  const bundleDir = join(home, 'policies')
  const dataPath = join(home, 'data.json')
  cpSync(shippedPolicies, bundleDir, { recursive: true })
  cpSync(join(shippedPolicies, 'data.json'), dataPath)
  return {
    bundleDir,
    dataPath,
    readData: () => JSON.parse(readFileSync(dataPath, 'utf8')),
    writeData: (data) => writeFileSync(dataPath, JSON.stringify(data)),
    read: (name) => readFileSync(join(bundleDir, name)),
    write: (name, bytes) => writeFileSync(join(bundleDir, name), bytes),
    [Symbol.dispose]: () => rmSync(home, { recursive: true }),
  }
}

export function openPolicy(
  folder: PolicyFolder,
  parts: Partial<PolicyParts> = {},
  versionMin = 0,
  options: { terms?: PolicyTerms; goesWithoutRules?: boolean } = {},
): Policy {
  const { bundleDir, dataPath } = folder
  return createPolicy({ bundleDir, dataPath, versionMin, ...options }, { clock: createFakeClock(), ...parts })
}

/** Writes the operator's rules beside the data, and seals them with opa as `hub policy seal` does. */
export function writeHomeRules({ dataPath }: Pick<PolicyFolder, 'dataPath'>, text: string, key?: string): void {
  const folder = dirname(dataPath)
  writeFileSync(join(folder, 'own.rego'), `package hub.home\n\n${text}\n`)
  writeCandidate(folder, makeCandidate(folder, key))
}

/** What the hub keeps of accepted rules, in a database in memory. */
export function acceptedTable() {
  const database = new Database(':memory:')
  database.exec(readFileSync(new URL('../../hub/store/migrations/0025-policy-file.sql', import.meta.url), 'utf8'))
  const accepted = createAccepted({
    database: {
      prepare: (sql) => database.prepare(sql),
      transaction: (work) => database.transaction(work)(),
      get inTransaction() {
        return database.inTransaction
      },
    },
  })
  return { accepted, database }
}

/** A database in memory with the table, and the rows as they were written. */
export function decisionTable() {
  const database = new Database(':memory:')
  database.exec(readFileSync(new URL('../../hub/store/migrations/0002-decision.sql', import.meta.url), 'utf8'))
  return {
    database,
    rows: () => database.prepare('select * from decision').all() as Record<string, unknown>[],
  }
}

export function openDecisions(
  policy: Policy,
  database: Database.Database,
  clock: Clock = createFakeClock(),
): Decisions {
  return createDecisions({ labels: { instance: 'test' } }, { policy, database, clock, random: systemRandom })
}

export const authority = (change: Partial<Authority> = {}): Authority => ({
  capabilities: [],
  message: [],
  delegate: [],
  topics: [],
  secrets: [],
  egress: [],
  ttlMs: 600_000,
  depthLeft: 2,
  tasksLeft: 10,
  ...change,
})

export const agentPrincipal = (agent: string, change: Partial<Authority> = {}): Principal => ({
  kind: 'agent',
  id: `s-${agent}`,
  agent,
  session: `s-${agent}`,
  generation: 1,
  authority: authority(change),
})

export const ask = (operation: string, principal: Principal, resource: Record<string, unknown> = {}): PolicyInput => ({
  operation,
  principal,
  resource,
  mode: 'running',
})
