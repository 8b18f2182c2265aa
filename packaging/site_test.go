package packaging

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestSite wants every page in the sidebar of the site, and nothing else.
func TestSite(t *testing.T) {
	config, err := os.ReadFile("../site/.vitepress/config.mjs")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("no pages: %v", err)
	}
	var names []string
	for _, page := range pages {
		names = append(names, strings.TrimSuffix(filepath.Base(page), ".md"))
	}
	var listed []string
	for _, link := range regexp.MustCompile(`(?m)^    \['([^']+)', '[^']+'\],$`).FindAllSubmatch(config, -1) {
		listed = append(listed, string(link[1]))
	}
	slices.Sort(listed)
	if !slices.Equal(listed, names) { // which are sorted
		t.Errorf("the sidebar of site/.vitepress/config.mjs has %q, and there are %q", listed, names)
	}
}
