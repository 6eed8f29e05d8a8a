{{/* A map as TOML, a line for each value. (`toToml` writes every number as a float, which is not what a port is.) */}}
{{- define "slipway.toml" -}}
{{- $prefix := .prefix -}}
{{- range $key, $value := .map -}}
{{- $path := printf "%s%s" $prefix (include "slipway.tomlKey" $key) -}}
{{- if kindIs "map" $value -}}
{{- include "slipway.toml" (dict "prefix" (printf "%s." $path) "map" $value) -}}
{{- else if not (kindIs "invalid" $value) -}}
{{ $path }} = {{ include "slipway.tomlValue" $value }}
{{ end -}}
{{- end -}}
{{- end -}}

{{- define "slipway.tomlKey" -}}
{{- if regexMatch "^[A-Za-z0-9_-]+$" . }}{{ . }}{{ else }}{{ toJson . }}{{ end -}}
{{- end -}}

{{- define "slipway.tomlValue" -}}
{{- if kindIs "string" . -}}
{{- toJson . -}}
{{- else if kindIs "slice" . -}}
[{{- range $n, $one := . }}{{ if $n }}, {{ end }}{{ include "slipway.tomlValue" $one }}{{ end }}]
{{- else if kindIs "map" . -}}
{ {{- range $n, $key := keys . | sortAlpha }}{{ if $n }}, {{ end }}{{ include "slipway.tomlKey" $key }} = {{ include "slipway.tomlValue" (get $ $key) }}{{ end -}} }
{{- else if kindIs "float64" . -}}
{{- if eq (floor .) . }}{{ int64 . }}{{ else }}{{ . }}{{ end -}}
{{- else -}}
{{- . -}}
{{- end -}}
{{- end -}}
