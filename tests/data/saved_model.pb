h
"serve*2.15.0

xPlaceholder"*=
serving_default*

x
x:0tensorflow/serving/predict