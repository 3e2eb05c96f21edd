/** Every page of `docs/reference/`, by its name. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { apiPage, openApi } from './api.ts'
import { commandsPage } from './commands.ts'
import { driversPage } from './drivers.ts'
import { cardPage, configurationPage, ruleInputPage } from './files.ts'
import { linesPage } from './lines.ts'
import { mcpToolsPage } from './mcp-tools.ts'
import { recipesPage } from './recipes.ts'
import { actionsPage, conditionsPage, errorsPage, eventsPage, metricsPage } from './tables.ts'

/** `root`: the checkout. Throws if something has no description. */
export function makePages(root: string): ReadonlyMap<string, string> {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }
  return new Map([
    ['card.md', cardPage()],
    ['drivers.md', driversPage()],
    ['recipes.md', recipesPage()],
    ['json-lines.md', linesPage()],
    ['mcp-tools.md', mcpToolsPage()],
    ['rule-input.md', ruleInputPage()],
    ['api.md', apiPage()],
    ['openapi.json', `${JSON.stringify(openApi(version), null, 1)}\n`],
    ['actions.md', actionsPage(root)],
    ['conditions.md', conditionsPage()],
    ['errors.md', errorsPage()],
    ['configuration.md', configurationPage()],
    ['commands.md', commandsPage()],
    ['events.md', eventsPage()],
    ['metrics.md', metricsPage()],
  ])
}
