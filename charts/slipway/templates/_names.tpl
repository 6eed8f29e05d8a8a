{{/* What objects are called. Cut so that the longest of them, `<name>-platform-selector-admin`, is a DNS label. */}}
{{- define "slipway.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 36 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 36 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 36 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "slipway.workersNamespace" -}}
{{- default .Release.Namespace .Values.workers.namespace -}}
{{- end -}}

{{/* Labels by which a component is found; they never change. */}}
{{- define "slipway.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* Labels of every object of a component. */}}
{{- define "slipway.labels" -}}
{{- include "slipway.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: slipway
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* An image by digest or tag. */}}
{{- define "slipway.image" -}}
{{- if .image.digest -}}
{{- printf "%s@%s" .image.repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" .image.repository (default .root.Chart.AppVersion .image.tag) -}}
{{- end -}}
{{- end -}}

{{/* The broker as everything in the cluster reaches it. */}}
{{- define "slipway.brokerUrl" -}}
{{- if .Values.nats.enabled -}}
{{- printf "%s://%s-nats.%s.svc:4222" (ternary "tls" "nats" .Values.nats.tls.enabled) (include "slipway.fullname" .) .Release.Namespace -}}
{{- else -}}
{{- .Values.nats.external.url -}}
{{- end -}}
{{- end -}}

{{/* The ConfigMap with the authority of the broker's certificate; empty where there is none. */}}
{{- define "slipway.brokerCa" -}}
{{- if not .Values.nats.enabled -}}
{{- .Values.nats.external.caConfigMap -}}
{{- else if not .Values.nats.tls.enabled -}}
{{- else if .Values.nats.tls.existingSecret -}}
{{- .Values.nats.tls.caConfigMap -}}
{{- else -}}
{{- printf "%s-broker-ca" (include "slipway.fullname" .) -}}
{{- end -}}
{{- end -}}

{{/* How many copies streams have. */}}
{{- define "slipway.copies" -}}
{{- if .Values.nats.enabled -}}
{{- min (int .Values.nats.servers) 3 -}}
{{- else -}}
{{- int .Values.nats.external.replicas -}}
{{- end -}}
{{- end -}}

{{/* Of pods: nothing more than the strictest profile of Pod Security lets run. */}}
{{- define "slipway.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end -}}

{{- define "slipway.pullSecrets" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end -}}

{{/* `topologySpread` of the values, with the selector that it wants. */}}
{{- define "slipway.topologySpread" -}}
{{- $selector := include "slipway.selector" . | fromYaml -}}
{{- $constraints := list -}}
{{- range .topologySpread -}}
{{- $constraints = append $constraints (merge (dict "labelSelector" (dict "matchLabels" $selector)) .) -}}
{{- end -}}
{{- toYaml $constraints -}}
{{- end -}}

{{/* Whether a kind is used: `always`, `never`, or `auto` where it is served. */}}
{{- define "slipway.isServed" -}}
{{- if or (eq .wanted "always") (and (eq .wanted "auto") (.root.Capabilities.APIVersions.Has .api)) -}}yes{{- end -}}
{{- end -}}

{{/* Whether pods say by annotations that they are to be scraped: where no ServiceMonitor does. */}}
{{- define "slipway.isAnnotated" -}}
{{- if not (include "slipway.isServed" (dict "root" . "wanted" .Values.monitoring.serviceMonitor "api" "monitoring.coreos.com/v1")) -}}yes{{- end -}}
{{- end -}}

{{/* Whether routes lead to the door from outside. */}}
{{- define "slipway.isRouted" -}}
{{- if or .Values.routes.gateway.name .Values.routes.ingressClassName -}}yes{{- end -}}
{{- end -}}

{{/* Whether dashboards are made. */}}
{{- define "slipway.hasDashboards" -}}
{{- include "slipway.isServed" (dict "root" . "wanted" .Values.monitoring.dashboards "api" "monitoring.coreos.com/v1") -}}
{{- end -}}

{{/* Whether rules or dashboards of deployments are wanted. */}}
{{- define "slipway.isShown" -}}
{{- if or (ne .Values.monitoring.rules "never") (include "slipway.hasDashboards" .) -}}yes{{- end -}}
{{- end -}}

{{/* The namespaces whose custom resources are carried out, as a list; all: "*" alone. */}}
{{- define "slipway.resourceNamespaces" -}}
{{- $own := .Values.customResources -}}
{{- if not $own.enabled -}}
[]
{{- else if has "*" $own.namespaces -}}
["*"]
{{- else -}}
{{- $own.namespaces | default (list .Release.Namespace) | uniq | sortAlpha | toJson -}}
{{- end -}}
{{- end -}}
