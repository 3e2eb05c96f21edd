/** The page about recipes: what each installs, what it switches off, and why. */
import { BUDGET, LIGHT, type Limits, NIGHT } from '../../hub/client/cli/agents/recipes/recipe.ts'
import { RECIPES } from '../../hub/client/cli/agents/recipes.ts'
import { code, page, table } from './markdown.ts'

const installs = ({ cli }: (typeof RECIPES)[string]): string[] =>
  cli === undefined ? ['-', '-', '-', '-'] : [code(cli.package), cli.version, cli.floor, cli.license]

const limitsText = (limits: Limits): string =>
  Object.entries(limits)
    .map(([key, value]) => code(`${key}: ${value}`))
    .join(', ')

const resuming = Object.entries(RECIPES)
  .flatMap(([word, { resume }]) => (resume === undefined ? [] : [`\`${resume}\` (${word})`]))
  .join(', ')

export const recipesPage = (): string =>
  page(
    'Recipes',
    '`hub/client/cli/agents/recipes/` and `hub/protocol/coding-clis.ts`',
    'A recipe makes an agent of a coding CLI that others wrote, or of a short program of ours that is meant to be copied: `hub agent new NAME --lang RECIPE`. It makes the card and the recipe of the image, declares the upstream if there is none of its kind, and writes limits, budget and row after one yes. `hub agent build` then installs a CLI on your machine; nothing of it is shipped. That needs the registry of npm once; a build that does not reach it says so ([offline](../images.md#1-the-keys-of-imageyaml)). [Writing agents](../agents.md#coding-agents-of-others) has the whole walk.',
    table(
      [
        'Recipe',
        'Is',
        'Package',
        'Version',
        'Floor',
        'Licence',
        'Kind of its upstream',
        'Model',
        'Other models that it calls',
      ],
      Object.entries(RECIPES).map(([word, recipe]) => [
        ...[code(word), recipe.title, ...installs(recipe), code(recipe.kind), code(recipe.model)],
        recipe.helpers.map(code).join(', ') || '-',
      ]),
    ),
    'In all that work on a repository `NPM_CONFIG_UPDATE_NOTIFIER=false` is set: npm, which runs the tests of many repositories, would look for a newer npm each time.',
    'Below its floor nothing was tried. The version is what a recipe installs; another one is written in `image.yaml`.',
    '## What a night needs',
    `Limits, in \`limits.agents.NAME\` of hub.yaml and in the card: ${limitsText(NIGHT)}. 2 GiB of workspace hold 262 144 files and folders. A recipe that is given files instead of a repository has ${limitsText(LIGHT)}. Budget, in the row of \`policy/data.json\`: ${code(JSON.stringify(BUDGET))}. What allows more already stays.`,
    '## Going on with a conversation',
    `With \`--resume\` a start after a fall goes on with the conversation of its task. The card then says \`transcripts: true\`, \`resume\` and \`repeatable: true\`, and so does the row for \`transcripts\`; without the flag nothing of it is there. The conversation lies unmasked on your machine until the task has ended ([Writing agents](../agents.md#going-on-with-a-conversation)). By ${resuming}. The others refuse the flag: the hub keeps no conversation of theirs.`,
    ...Object.entries(RECIPES).flatMap(([word, { title, off, notes }]) => [
      `## ${title} (\`${word}\`)`,
      ...(off.length === 0
        ? []
        : [
            table(
              ['Switched off', 'By', 'Why'],
              off.map(({ what, how, why }) => [what, how, why]),
            ),
          ]),
      notes.map((note) => `- ${note}`).join('\n'),
    ]),
  )
