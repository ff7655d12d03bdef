// Executes the template of a custom API widget on a JSON document: TEMPLATE DOCUMENT.
//
// It stands in for Glance, which no package has. Like Glance, it uses html/template and gjson; the methods and functions are
// those of Glance's documentation that docs/consumers.md uses.
package main

import (
	"fmt"
	"html/template"
	"os"
	"time"

	"github.com/tidwall/gjson"
)

type document struct{ gjson.Result }

func (d document) Bool(path string) bool     { return d.Get(path).Bool() }
func (d document) Float(path string) float64 { return d.Get(path).Float() }
func (d document) String(path string) string { return d.Get(path).String() }

func read(path string) string {
	content, err := os.ReadFile(path)
	check(err)
	return string(content)
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	functions := template.FuncMap{
		"formatNumber": func(number float64) string { return fmt.Sprintf("%.2f", number) },
		"parseTime": func(layout, text string) (time.Time, error) {
			if layout != "rfc3339" {
				return time.Time{}, fmt.Errorf("a layout that this program does not know: %s", layout)
			}
			return time.Parse(time.RFC3339, text)
		},
		"toRelativeTime": func(at time.Time) template.HTMLAttr {
			return template.HTMLAttr(fmt.Sprintf(`data-dynamic-relative-time="%d"`, at.Unix()))
		},
	}
	parsed, err := template.New("").Funcs(functions).Parse(read(os.Args[1]))
	check(err)
	data := map[string]document{"JSON": {gjson.Parse(read(os.Args[2]))}}
	check(parsed.Execute(os.Stdout, data))
}
