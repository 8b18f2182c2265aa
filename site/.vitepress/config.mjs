// The site is README.md and docs/, as they are: what they link to besides is on the forge.
import { posix } from 'node:path'
import { defineConfig } from 'vitepress'

const repository = 'https://github.com/xdp-load/xdp-load'

// Pages in the order of the sidebar: the file in docs/, without its ending, and what it is called there.
const sections = [
  ['Use it', [
    ['loading', 'Loading'],
    ['operations', 'Operations'],
    ['errors', 'Errors'],
    ['drivers', 'Drivers'],
    ['verify', 'Verify'],
    ['producers', 'Producers'],
    ['examples', 'Examples'],
    ['json', 'JSON'],
    ['performance', 'Performance'],
  ]],
  ['Write programs', [
    ['examples', 'Examples'],
    ['how-it-works', 'How it works'],
    ['access-shapes', 'Access shapes'],
    ['accessors', 'Accessors'],
  ]],
  ['Carry it on', [
    ['design', 'Design'],
    ['oracles', 'Who does what'],
  ]],
]

// The page that a file of the repository is on the site, if it is one.
function pageOf(file) {
  if (file === 'README.md') return '/'
  const doc = file.match(/^docs\/([^/]+)\.md$/)
  return doc && `/${doc[1]}`
}

// Where a link in one of the pages leads to.
function target(href, from) {
  if (/^([a-z]+:|#)/.test(href)) return href
  const [path, fragment] = href.split('#')
  const file = posix.normalize(posix.join(posix.dirname(from), path))
  const page = pageOf(file)
  return (page ?? `${repository}/blob/main/${file}`) + (fragment ? `#${fragment}` : '')
}

// Links by the paths of files, which is what the forge wants, become those of the site.
function linkAsOnForge(md) {
  md.core.ruler.push('link-as-on-forge', ({ env, tokens }) => {
    const from = posix.relative('/', posix.join('/', env.realPath ? posix.relative(root, env.realPath) : env.relativePath))
    for (const { children } of tokens) {
      for (const token of children ?? []) {
        if (token.type === 'link_open') token.attrSet('href', target(token.attrGet('href'), from))
      }
    }
  })
}

const root = posix.normalize(posix.join(import.meta.dirname, '..', '..'))

export default defineConfig({
  title: 'xdp-load',
  description: "What a NIC knows of a packet, in XDP and TC programs: md->hash, on every NIC",
  base: process.env.BASE ?? '/',
  srcDir: '..',
  srcExclude: ['!(README.md|docs)/**', '!(README).md'],
  rewrites: { 'README.md': 'index.md', 'docs/:page': ':page' },
  outDir: './dist',
  cleanUrls: true,
  metaChunk: true,
  head: [['link', { rel: 'icon', href: 'data:,' }]],
  // The pages are not below the packages that they are built with.
  vite: { resolve: { alias: [{ find: /^vue(?=\/|$)/, replacement: posix.join(root, 'site/node_modules/vue') }] } },
  markdown: {
    config: linkAsOnForge,
    // As the forge makes them.
    anchor: { slugify: (title) => title.trim().toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, '').replace(/\s/g, '-') },
    languageAlias: { console: 'shellsession' },
  },
  themeConfig: {
    outline: [2, 3],
    search: { provider: 'local' },
    socialLinks: [{ icon: 'github', link: repository }],
    sidebar: [
      { text: 'A first program', link: '/' },
      ...sections.map(([text, pages]) => ({ text, items: pages.map(([link, text]) => ({ text, link: `/${link}` })) })),
    ],
    editLink: { pattern: `${repository}/edit/main/:path`, text: 'Edit this page' },
  },
})
