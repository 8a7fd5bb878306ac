# shellcheck shell=bash
# Sourced by this folder's image recipes.

. "$RIG/lib/go.sh"

compile_dashboards() { go_build "$RIG/stand-ins/dashboards" "" "$OUT/" ./kiali ./grafana ./configmap-reload; }

# dashboard_program NAME: the path of one of this module's programs.
dashboard_program() {
  local folder
  folder=$(cached dashboards "$RIG/stand-ins/dashboards" "$RIG/lib/go.sh" -- compile_dashboards)
  printf '%s/%s\n' "$folder" "$1"
}
