{{/* Rules of NetworkPolicies. */}}
{{- define "slipway.network.peer" -}}
podSelector:
  matchLabels:
    {{- include "slipway.selector" . | nindent 4 }}
{{- end -}}

{{/* Workers of this installation, wherever they run. */}}
{{- define "slipway.network.workers" -}}
namespaceSelector:
  matchLabels: { kubernetes.io/metadata.name: {{ include "slipway.workersNamespace" .root }} }
podSelector:
  matchLabels: { slipway.dev/installation: {{ .root.Release.Name }} }
{{- end -}}

{{- define "slipway.network.names" -}}
- ports: [{ port: 53, protocol: UDP }, { port: 53, protocol: TCP }]
{{- end -}}

{{- define "slipway.network.apiServer" -}}
- ports:
{{- range .root.Values.networkPolicy.apiServerPorts }}
    - { port: {{ . }}, protocol: TCP }
{{- end }}
{{- end -}}

{{- define "slipway.network.broker" -}}
{{- if .root.Values.nats.enabled -}}
- to:
    - {{- include "slipway.network.peer" (dict "root" .root "component" "nats") | nindent 6 }}
  ports: [{ port: 4222, protocol: TCP }]
{{- else -}}
{{- $port := regexFind ":[0-9]+" (regexReplaceAll "^[a-z]+://" .root.Values.nats.external.url "") | trimPrefix ":" -}}
- ports: [{ port: {{ default "4222" $port }}, protocol: TCP }]
{{- end -}}
{{- end -}}

{{/* Where a service goes besides the broker. */}}
{{- define "slipway.network.egress" -}}
{{- $root := .root -}}
{{- $component := .component -}}
{{- include "slipway.network.names" . }}
{{ include "slipway.network.broker" . }}
{{- if include "slipway.asksApi" . }}
{{ include "slipway.network.apiServer" . }}
{{- end }}
{{- with regexFind ":[0-9]+$" $root.Values.telemetry.otlpEndpoint }}
- ports: [{ port: {{ trimPrefix ":" . }}, protocol: TCP }]
{{- end }}
{{- if has $component (list "ingress" "security" "validator" "observability") }}
- to:
    - {{- include "slipway.network.workers" . | nindent 6 }}
  ports: [{ port: 8443, protocol: TCP }, { port: 9091, protocol: TCP }]
{{- end }}
{{- if has $component (list "security" "validator" "observability") }}
- to:
    - {{- include "slipway.network.peer" (dict "root" $root "component" "ingress") | nindent 6 }}
  ports: [{ port: 8080, protocol: TCP }, { port: 9464, protocol: TCP }]
{{- end }}
{{- if has $component (list "platform-selector" "ingress" "sink-writer") }}
# Models over https, keys of token issuers, object stores.
- ports: [{ port: 443, protocol: TCP }]
{{- end }}
{{- if eq $component "sink-writer" }}
- ports: [{ port: 5432, protocol: TCP }]
{{- end }}
{{- with .service.egress }}
{{ toYaml . }}
{{- end }}
{{- end -}}
