package packaging

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSite wants every page in the sidebar of the site.
func TestSite(t *testing.T) {
	config, err := os.ReadFile("../site/.vitepress/config.mjs")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("no pages: %v", err)
	}
	for _, page := range pages {
		name := strings.TrimSuffix(filepath.Base(page), ".md")
		if !strings.Contains(string(config), "['"+name+"', ") {
			t.Errorf("%s is not in the sidebar of site/.vitepress/config.mjs", page)
		}
	}
}
