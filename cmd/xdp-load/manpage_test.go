package main

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/xdp-load/xdp-load/nic"
)

// manItem is something with a name, and what is said of it.
type manItem struct{ name, text string }

// manSections stand on every page after what is the command's own.
var manSections = []struct {
	title string
	items []manItem
}{
	{"ENVIRONMENT", []manItem{
		{nic.LayoutDirsVariable, "Directories with layouts, with colons between them. They are looked in before " + nic.LayoutDir + "."},
	}},
	{"FILES", []manItem{
		{nic.LayoutDir, "Layouts, by the name of an interface, DRIVER@FIRMWARE, or DRIVER, with any extension."},
		{"/sys/fs/bpf/xdp-load", "Pins of links, of maps, and of what is known of each program."},
		{nic.KernelBTF, "Types of the running kernel, and of its modules."},
	}},
}

// manDate is when what the pages say was last looked through. It is not that of the build,
// which would make each build another.
const manDate = "2026-11-29"

// manPage writes the manual page of a command, in the macros of man(7).
func manPage(cmd *cobra.Command) string {
	p := &page{}
	p.macro("TH", strings.ToUpper(pageOf(cmd)), "1", manDate, "xdp-load", "xdp-load")
	p.section("NAME")
	p.line(pageOf(cmd) + ` \- ` + roff(lowerFirst(cmd.Short)))
	p.section("SYNOPSIS")
	p.line(bold(cmd.CommandPath()) + roff(strings.TrimPrefix(cmd.UseLine(), cmd.CommandPath())))
	p.section("DESCRIPTION")
	p.paragraphs(longOf(cmd))
	p.commands(cmd)
	p.options(cmd)
	p.examples(cmd)
	p.section("EXIT STATUS")
	for _, status := range exitStatuses {
		p.item(bold(status.code), status.meaning)
	}
	for _, section := range manSections {
		p.section(section.title)
		for _, item := range section.items {
			p.item(italic(item.name), item.text)
		}
	}
	p.section("SEE ALSO")
	p.line(strings.Join(seeAlso(cmd), ",\n"))
	return p.String()
}

func (p *page) commands(cmd *cobra.Command) {
	if !cmd.HasAvailableSubCommands() {
		return
	}
	p.section("COMMANDS")
	for _, below := range cmd.Commands() {
		if below.IsAvailableCommand() {
			p.item(bold(below.Name()), below.Short)
		}
	}
}

func (p *page) options(cmd *cobra.Command) {
	p.section("OPTIONS")
	cmd.InitDefaultVersionFlag()
	cmd.InheritedFlags() // adds them to those of the command
	cmd.Flags().VisitAll(func(flag *pflag.Flag) {
		if flag.Hidden {
			return
		}
		value, text := pflag.UnquoteUsage(flag)
		tag := bold("--" + flag.Name)
		if flag.Shorthand != "" {
			tag = bold("-"+flag.Shorthand) + ", " + tag
		}
		if value != "" {
			tag += " " + italic(value)
		}
		if flag.DefValue != "" && flag.DefValue != "false" && flag.DefValue != "[]" {
			text += " (default " + flag.DefValue + ")"
		}
		p.item(tag, text)
	})
}

func (p *page) examples(cmd *cobra.Command) {
	if !cmd.HasExample() {
		return
	}
	p.section("EXAMPLES")
	p.macro("nf")
	for line := range strings.Lines(cmd.Example) {
		p.line(roff(strings.TrimSpace(line)))
	}
	p.macro("fi")
}

// seeAlso returns the pages of the commands above and below, and of what xdp-load works with.
func seeAlso(cmd *cobra.Command) []string {
	var names []string
	cmd.VisitParents(func(above *cobra.Command) { names = append(names, pageOf(above)) })
	for _, below := range allCommands(cmd)[1:] {
		names = append(names, pageOf(below))
	}
	var pages []string
	for _, name := range names {
		pages = append(pages, bold(name)+"(1)")
	}
	return append(pages, bold("bpftool")+"(8)", bold("ip-link")+"(8)")
}

// page is a page as it is written.
type page struct{ strings.Builder }

// macro writes a request with its arguments.
func (p *page) macro(name string, arguments ...string) {
	p.WriteString("." + name)
	for _, argument := range arguments {
		fmt.Fprintf(p, " %q", argument)
	}
	p.WriteString("\n")
}

func (p *page) section(title string) { p.macro("SH", title) }

func (p *page) line(text string) { p.WriteString(text + "\n") }

// paragraphs writes text with empty lines between its paragraphs.
func (p *page) paragraphs(text string) {
	for i, paragraph := range strings.Split(text, "\n\n") {
		if i > 0 {
			p.macro("PP")
		}
		p.prose(paragraph)
	}
}

// prose writes text in lines that are as long as people want them who read the source.
func (p *page) prose(text string) {
	line := ""
	for _, word := range strings.Fields(text) {
		switch longer := roff(strings.TrimSpace(line + " " + word)); {
		case len(longer) <= 78:
			line = strings.TrimSpace(line + " " + word)
		default:
			p.line(roff(line))
			line = word
		}
	}
	p.line(roff(line))
}

// item writes a name and what is said of it.
func (p *page) item(name, text string) {
	p.macro("TP")
	p.line(name)
	p.prose(text)
}

func bold(text string) string { return `\fB` + roff(text) + `\fR` }

func italic(text string) string { return `\fI` + roff(text) + `\fR` }

// roff returns text so that nothing in it is taken for an escape or a request, and so that
// what is typed can be copied from the page.
func roff(text string) string {
	text = roffEscapes.Replace(text)
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, `\(aq`) {
		return `\&` + text
	}
	return text
}

var roffEscapes = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`)

// lowerFirst returns a sentence as it goes behind a dash.
func lowerFirst(sentence string) string {
	runes := []rune(sentence)
	if len(runes) > 1 && !unicode.IsUpper(runes[1]) {
		runes[0] = unicode.ToLower(runes[0])
	}
	return string(runes)
}
